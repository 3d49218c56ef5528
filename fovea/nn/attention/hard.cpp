#include "fovea/nn/attention/hard.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/mods/chosen.h"
#include "fovea/ops/attend_dropout.h"
#include "fovea/ops/describe.h"
#include "fovea/ops/gumbel.h"

namespace fovea::nn {
namespace {

constexpr double kNoScore = -std::numeric_limits<double>::infinity();

// keys (B, H, N, C)
Chosen chosen_mask(const at::Tensor& keys) {
  const auto count = static_cast<int32_t>(keys.size(3)), head = static_cast<int32_t>(keys.size(2)) * count,
             batch = static_cast<int32_t>(keys.size(1)) * head;
  return {int_table(keys.to(at::kCPU, at::kInt).flatten().contiguous()), batch, head, count};
}

// Scores of the keys that are not among `taken`, which may be undefined.
template <class Score>
std::shared_ptr<const AttendFunctors> without_taken(const Score& score, const at::Tensor& taken) {
  return taken.defined() ? bind(score, !chosen_mask(taken)) : bind(score);
}

// Rows of v (B, Hkv, M, Dv) by keys (B, H, N), 0 where there is none.
at::Tensor rows_of_keys(const at::Tensor& v, const at::Tensor& keys) {
  const int64_t size = v.size(3);
  const at::Tensor places =
      keys.clamp_min(0).reshape({v.size(0), v.size(1), -1}).unsqueeze(3).expand({-1, -1, -1, size});
  const at::Tensor rows = v.gather(2, places).view({keys.size(0), keys.size(1), keys.size(2), size});
  return rows.masked_fill((keys < 0).unsqueeze(3), 0.0);
}

// Biases, which come after the functor that divides the products.
void divide_biases(AttendOptions& o, double by) {
  for (auto* bias : {&o.alibi_slopes, &o.relative_table, &o.relative_keys, &o.bias}) {
    if (*bias) *bias = **bias / by;
  }
  if (o.relative_grid) o.relative_grid->table = o.relative_grid->table / by;
}

// Softmax over the draws of a query, (B, H, N, k), 0 of what is none.
at::Tensor weights_of_draws(const at::Tensor& keys, const std::vector<at::Tensor>& scores) {
  const at::Tensor none = keys < 0, blind = none.all(3, /*keepdim=*/true);
  const at::Tensor shown = at::stack(scores, 3).masked_fill(none, kNoScore).masked_fill(blind, 0.0);
  return at::softmax(shown, 3).masked_fill(none, 0.0);
}

// A number for each query that sees a score which is not finite, so that it is not taken for one that sees
// none.
at::Tensor spoilt(const at::Tensor& left) { return (left < -kNoScore).logical_not().unsqueeze(3); }

// (B, H, N, M), the weight of each draw in the place of its key.
at::Tensor weights_of_pairs(const at::Tensor& weights, const at::Tensor& keys, int64_t m) {
  auto shape = weights.sizes().vec();
  shape.back() = m;
  return at::zeros(shape, weights.options().requires_grad(false))
      .scatter_add(3, keys.clamp_min(0), weights.masked_fill(keys < 0, 0.0));
}

}  // namespace

void HardOptions::check(const std::string& where) const {
  EngineOptions::check(where);
  const bool straight = estimator == HardEstimator::straight_through;
  if (straight && k > 1) {
    throw usage_error(where, "straight_through draws one key", "k = " + shown(k),
                      "Write estimator=reinforce or estimator=variational.");
  }
  const HardOptions standard;
  if (straight && (entropy != standard.entropy || baseline_decay != standard.baseline_decay)) {
    throw usage_error(
        where, "entropy and baseline_decay belong to rewards",
        "entropy " + shown(entropy) + ", baseline_decay " + shown(baseline_decay) + " with straight_through",
        "Write estimator=reinforce, or leave them out.");
  }
  if (!straight && temperature != 1.0) {
    throw usage_error(where, "temperature belongs to straight_through", shown(temperature),
                      "Give the scores another scale.");
  }
  if (baseline_decay < 0.0 || baseline_decay > 1.0) {
    throw usage_error(where, "baseline_decay must be in [0, 1]", shown(baseline_decay),
                      "1 is no baseline, 0 the last mean.");
  }
}

HardAttention::HardAttention(AttentionKind kind, const AttentionShape& shape, const HardOptions& options)
    : EngineAttention(std::move(kind), shape, options), hard_(options) {
  baseline = register_buffer("baseline", at::zeros({}));
}

bool HardAttention::wants_probability() const {
  return is_training() && hard_.estimator != HardEstimator::straight_through;
}

// options.seed is that of the noise; without one the largest score is taken.
HardAttention::Draw HardAttention::draw(const AttentionInput& input, AttendOptions options,
                                        const at::Tensor& taken) const {
  // No value is read for a score.
  const at::Tensor column = at::zeros({input.k.size(0), input.k.size(1), input.k.size(2), 1},
                                      input.k.options().requires_grad(false));
  const auto lse_of = [&](std::shared_ptr<const AttendFunctors> functors) {
    AttendOptions own = options;
    own.functors = std::move(functors);
    own.lse = true;
    return attend(input.q, input.k, column, own).lse;
  };
  Draw draw;
  draw.left = lse_of(taken.defined() ? without_taken(Identity{}, taken) : nullptr);
  if (options.seed) {
    options.functors = without_taken(GumbelNoise{*options.seed, 1.0f}, taken);
  } else if (taken.defined()) {
    options.functors = without_taken(Identity{}, taken);
  }
  AttendObservation largest;
  largest.argmax = true;
  draw.key = observe_attend(input.q, input.k, options, draw.left.detach(), largest).argmax;
  if (wants_probability() || hard_.k > 1) {
    draw.score = lse_of(bind(Identity{}, chosen_mask(draw.key.unsqueeze(3))));
  }
  return draw;
}

// What is drawn softly with the same noise; v is a constant.
at::Tensor HardAttention::relaxed(const AttentionInput& input, AttendOptions options) const {
  options.functors = bind(GumbelNoise{*options.seed, static_cast<float>(1.0 / hard_.temperature)});
  if (hard_.temperature != 1.0) divide_biases(options, hard_.temperature);
  return attend(input.q, input.k, input.v.detach(), options).out;
}

HardAttention::Draws HardAttention::draws(const AttentionInput& input, const AttendOptions& options) const {
  std::vector<at::Tensor> scores;
  Draws all;
  at::Tensor left;
  for (int64_t c = 0; c < hard_.k; ++c) {
    const Draw next = draw(input, options, all.choice.keys);
    const at::Tensor key = next.key.unsqueeze(3);
    all.choice.keys = c == 0 ? key : at::cat({all.choice.keys, key}, 3);
    if (c == 0) left = next.left.detach();
    // Of one draw the weight is 1 whatever its score.
    scores.push_back(hard_.k > 1 ? next.score : at::zeros_like(left));
    if (!wants_probability()) continue;
    const at::Tensor log_p = at::where(next.key >= 0, next.score - next.left, at::zeros_like(left));
    all.choice.log_probability = c == 0 ? log_p : all.choice.log_probability + log_p;
  }
  all.weights = weights_of_draws(all.choice.keys, scores)
                    .masked_fill(spoilt(left), std::numeric_limits<double>::quiet_NaN());
  return all;
}

AttentionOutput HardAttention::run(const AttentionInput& input) {
  const bool expected = !is_training() && hard_.inference == HardInference::expected;
  if (expected || input.q.is_meta() || input.q.numel() == 0 || input.k.size(2) == 0) {
    return EngineAttention::run(input);
  }
  if (input.q.numel() / input.q.size(3) > std::numeric_limits<int32_t>::max() / hard_.k) {
    refuse("B H N k must be below 2^31", describe(input.q) + ", k " + shown(hard_.k), "Split the batch.");
  }
  const bool sampled = is_training() || hard_.inference == HardInference::sampled;
  AttendOptions options = options_of(input.call), dropping;
  dropping.dropout_p = std::exchange(options.dropout_p, 0.0);
  if (!options.seed && (sampled || dropping.dropout_p > 0.0)) options.seed = draw_seed();
  dropping.seed = options.seed;
  options.seed = sampled ? std::optional(~*options.seed) : std::nullopt;  // other bits than dropout's
  options.weights = false;

  Draws drawn = draws(input, options);
  if (is_training()) choice_ = drawn.choice;
  const at::Tensor& keys = drawn.choice.keys;
  if (dropping.dropout_p > 0.0) {
    drawn.weights = drawn.weights * dropout_factors(drawn.weights, dropout_of(dropping));
  }
  AttentionOutput result;
  for (int64_t c = 0; c < hard_.k; ++c) {
    const at::Tensor part = rows_of_keys(input.v, keys.select(3, c)) * drawn.weights.narrow(3, c, 1);
    result.out = c == 0 ? part : result.out + part;
  }
  result.out = result.out.to(input.v.scalar_type());
  if (is_training() && at::GradMode::is_enabled() && hard_.estimator == HardEstimator::straight_through) {
    const at::Tensor soft = relaxed(input, options);
    result.out = result.out + (soft - soft.detach());
  }
  if (input.call.weights) result.weights = weights_of_pairs(drawn.weights, keys, input.k.size(2));
  return result;
}

void HardAttention::check_reward(const HardChoice& choice, const at::Tensor& reward) const {
  if (!choice.log_probability.defined()) {
    refuse("loss_term() needs a call while training, of another estimator than straight_through",
           "no log-probability of a draw", "Call train() and forward() before.");
  }
  const auto drawn = choice.log_probability.sizes();
  const bool fits = reward.defined() && reward.is_floating_point() &&
                    (reward.sizes().equals({drawn[0]}) || reward.sizes().equals({drawn[0], drawn[2]}));
  if (fits) return;
  refuse("the reward must be (B) or (B, N) floating point numbers",
         describe(reward) + " for draws " + describe(choice.log_probability),
         "Give each batch entry its reward.");
}

at::Tensor HardAttention::loss_term(const at::Tensor& reward) { return loss_term(choice_, reward); }

at::Tensor HardAttention::loss_term(const HardChoice& choice, const at::Tensor& reward) {
  check_reward(choice, reward);
  const at::Tensor& log_p = choice.log_probability;
  const at::Tensor gain =
      (reward.dim() == 2 ? reward.unsqueeze(1) : reward.reshape({-1, 1, 1})).detach().to(log_p.scalar_type());
  const at::Tensor advantage = gain - baseline.detach() - log_p.detach() * hard_.entropy;
  const auto entries = static_cast<double>(std::max<int64_t>(reward.size(0), 1));
  at::Tensor loss = (advantage * log_p).sum() / -entries;
  if (hard_.estimator == HardEstimator::variational) loss = loss - reward.sum() / entries;
  const at::NoGradGuard no_gradient;
  baseline.mul_(hard_.baseline_decay).add_(gain.mean(), 1.0 - hard_.baseline_decay);
  return loss;
}

// Scores, and a value for each draw. Kept are keys as the kernel reads them, or rows of values, with draws.
AttentionCost HardAttention::cost(int64_t n, int64_t m, int64_t d) const {
  if (!is_training() && hard_.inference == HardInference::expected) return EngineAttention::cost(n, m, d);
  const int64_t draws = n * hard_.k, numbers = std::max(m, n) * d + 10 * draws;
  return {d * pairs(n, m) + draws * d, numbers * kFloatBytes};
}

AttentionEntry hard_attention() {
  return attention_entry<HardAttention>(
      {"hard", "out_i = v_j, j drawn with probability softmax_j(s_ij); k of them without replacement",
       "Xu et al. 2015, Show, attend and tell, 4.1; Jang et al. 2017, 2.2; Kool et al. 2019, 2.3",
       "O(N M D k) time for scores, O(N k) values, O(N + M) memory", "fused"},
      {.takes_relative_keys = true, .observes = false, .takes_packed = false}, HardOptions{});
}

}  // namespace fovea::nn
