#include "fovea/ops/attend_normalisers.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>
#include <variant>

#include "fovea/core/error.h"
#include "fovea/core/listed.h"
#include "fovea/core/nearest.h"

namespace fovea {
namespace {

const std::pair<const char*, AttendNormaliser> kNormalisers[] = {{"softmax", Softmax{}},
                                                                 {"softmax_sink", SoftmaxSink{}},
                                                                 {"sigmoid", Sigmoid{}},
                                                                 {"sparsemax", Sparsemax{}},
                                                                 {"entmax15", Entmax{}}};
static_assert(std::size(kNormalisers) == std::variant_size_v<AttendNormaliser>);

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Of entmax: what is less is as good as softmax.
constexpr double kLeastAlpha = 1.0001;

// (H), as the scores are.
at::Tensor sink_scores(const SoftmaxSink& sink, const at::Tensor& scores) {
  const auto options = scores.options().requires_grad(false);
  return sink.scores ? sink.scores->to(options) : at::zeros({scores.size(1)}, options);
}

// Over rows that see a key, hidden scores being -inf.

// Hidden ones -inf, but 0 in a row without any key, which would be NaN forward and backward.
at::Tensor shown_scores(const at::Tensor& scores, const at::Tensor& allowed) {
  const at::Tensor sees = allowed.any(-1, /*keepdim=*/true);
  const at::Tensor instead =
      at::zeros(sees.sizes(), scores.options().requires_grad(false)).masked_fill(sees, -kInfinity);
  return at::where(allowed, scores, instead);
}

at::Tensor weights_of(const Softmax&, const at::Tensor& scores) { return at::softmax(scores, -1); }

at::Tensor weights_of(const SoftmaxSink& sink, const at::Tensor& scores) {
  const auto shape = scores.sizes();
  const at::Tensor column =
      sink_scores(sink, scores).view({1, -1, 1, 1}).expand({shape[0], shape[1], shape[2], 1});
  return at::softmax(at::cat({scores, column}, -1), -1).narrow(-1, 0, shape[3]);
}

at::Tensor weights_of(const Sigmoid& sigmoid, const at::Tensor& scores) {
  return at::sigmoid(scores + sigmoid_bias(sigmoid, scores.size(-1)));
}

// Scores less their row's largest, which changes no weight of the normalisers below and keeps their digits.
at::Tensor below_largest(const at::Tensor& scores) { return scores - scores.detach().amax(-1, true); }

// Each row's threshold. `of_highest(scores, ranks)` gives, of scores in descending order and ranks 1 ... K,
// the threshold that each number of them would have, and which of them are kept by it; the row's is that of
// all it keeps. Most rows keep few: where rows are long, only those that keep all of `highest` are sorted
// whole.
template <class OfHighest>
at::Tensor threshold_of(const at::Tensor& rows, const OfHighest& of_highest, int64_t highest) {
  const int64_t keys = rows.size(-1), sorted = keys > kSortedWhole ? highest : keys;
  const at::Tensor scores =
      sorted == keys ? std::get<0>(rows.sort(-1, /*descending=*/true)) : std::get<0>(rows.topk(sorted, -1));
  const auto [thresholds, kept] = of_highest(scores, at::arange(1, sorted + 1, scores.options()));
  const at::Tensor count = kept.sum(-1, /*keepdim=*/true);
  at::Tensor threshold = thresholds.gather(-1, (count - 1).clamp_min(0));
  if (sorted == keys || rows.is_meta()) return threshold;
  const at::Tensor longer = (count.squeeze(-1) == sorted).nonzero().squeeze(-1);
  if (longer.numel() == 0) return threshold;
  return threshold.index_copy(0, longer, threshold_of(rows.index_select(0, longer), of_highest, keys));
}

// Which scores exceed their row's threshold; all of a row with NaN, so that it stays NaN.
at::Tensor exceed(const at::Tensor& scores, const at::Tensor& threshold) {
  return (scores <= threshold).bitwise_not();
}

using Kept = std::pair<at::Tensor, at::Tensor>;

template <class OfHighest>
at::Tensor support_of(const at::Tensor& scores, const OfHighest& of_highest) {
  constexpr int64_t kHighest = 64;
  const at::NoGradGuard no_grad;
  const at::Tensor rows = scores.flatten(0, -2);
  return exceed(rows, threshold_of(rows, of_highest, kHighest)).view(scores.sizes());
}

at::Tensor sparsemax_support(const at::Tensor& scores) {
  return support_of(scores, [](const at::Tensor& highest, const at::Tensor& ranks) -> Kept {
    const at::Tensor thresholds = (highest.cumsum(-1) - 1) / ranks;
    return {thresholds, highest > thresholds};
  });
}

// `halves`: scores / 2.
at::Tensor entmax15_support(const at::Tensor& halves) {
  return support_of(halves, [](const at::Tensor& highest, const at::Tensor& ranks) -> Kept {
    const at::Tensor mean = highest.cumsum(-1) / ranks;
    const at::Tensor variance = highest.square().cumsum(-1) / ranks - mean.square();
    const at::Tensor thresholds = mean - (1 / ranks - variance).clamp_min(0).sqrt();
    return {thresholds, thresholds <= highest};
  });
}

// The sum over each row's support, whose other entries may be -inf.
at::Tensor sum_over(const at::Tensor& support, const at::Tensor& numbers) {
  return at::where(support, numbers, 0.0).sum(-1, /*keepdim=*/true);
}

// Given the support, the threshold is a smooth function of the scores: differentiated as it stands, it gives
// the Jacobian of the papers, of any order.
at::Tensor weights_of(const Sparsemax&, const at::Tensor& scores) {
  if (scores.numel() == 0) return scores;
  const at::Tensor z = below_largest(scores), support = sparsemax_support(z.detach());
  const at::Tensor threshold = (sum_over(support, z) - 1) / support.sum(-1, /*keepdim=*/true);
  return at::where(support, z - threshold, 0.0).clamp_min(0);
}

at::Tensor entmax15_weights(const at::Tensor& scores) {
  const at::Tensor x = below_largest(scores) / 2, support = entmax15_support(x.detach());
  const at::Tensor count = support.sum(-1, /*keepdim=*/true), mean = sum_over(support, x) / count;
  const at::Tensor spread = at::where(support, x - mean, 0.0).square().sum(-1, /*keepdim=*/true);
  // 1 - spread = count (mean - threshold)^2 > 0 but for rounding.
  const at::Tensor threshold = mean - ((1 - spread) / count).clamp_min(1e-30).sqrt();
  return at::where(support, x - threshold, 0.0).square();
}

// max(x - tau, 0), which is 1 where x is at most tau. A row with NaN stays NaN.
struct Excess {
  at::Tensor support, above;
};
Excess excess(const at::Tensor& x, const at::Tensor& threshold) {
  const at::Tensor support = exceed(x, threshold).detach();
  // A difference that rounding made 0 has a finite power and logarithm then.
  return {support, at::where(support, (x - threshold).clamp_min(1e-300), 1.0)};
}

// The threshold of x <= 0 by Newton's method on the norm of what exceeds it, which is convex in the threshold
// and all but linear: from below it is reached from one side, in few steps.
at::Tensor entmax_threshold(const at::Tensor& x, const at::Tensor& power) {
  const at::NoGradGuard no_grad;
  at::Tensor threshold = at::full_like(x.amax(-1, /*keepdim=*/true), -1.0);
  constexpr int kSteps = 40;
  for (int i = 0; i < kSteps; ++i) {
    const Excess e = excess(x, threshold);
    const at::Tensor raised = at::where(e.support, e.above.pow(power - 1), 0.0);
    const at::Tensor sum = (raised * e.above).sum(-1, /*keepdim=*/true);
    const at::Tensor step =
        (sum - sum.pow(1 - 1 / power)) / raised.sum(-1, /*keepdim=*/true).clamp_min(1e-300);
    threshold = threshold + step;
    if (!(step.abs() > 1e-15).any().item<bool>()) break;
  }
  return threshold;
}

// Two steps of Newton's method from the threshold give it derivatives by scores and alpha: of the first three
// orders, those of the equation that defines it.
at::Tensor entmax_weights(const at::Tensor& scores, const at::Tensor& alpha) {
  const at::Tensor z = below_largest(scores), less = alpha - 1, power = 1 / less;
  // What is hidden is -inf, times which a gradient of 0 would be NaN.
  const at::Tensor finite = at::where(z == -kInfinity, -1e300, z), x = finite * less;
  at::Tensor threshold = entmax_threshold(x.detach(), power.detach());
  for (int i = 0; i < 2; ++i) {
    const Excess e = excess(x, threshold);
    const at::Tensor raised = at::where(e.support, e.above.pow(power - 1), 0.0);
    const at::Tensor sum = (raised * e.above).sum(-1, /*keepdim=*/true);
    threshold = threshold + (sum - 1) / (power * raised.sum(-1, /*keepdim=*/true));
  }
  const Excess e = excess(x, threshold);
  return at::where(e.support, e.above.pow(power), 0.0);
}

at::Tensor weights_of(const Entmax& entmax, const at::Tensor& scores) {
  if (scores.numel() == 0) return scores;
  const auto* number = std::get_if<double>(&entmax.alpha);
  if (number && *number == 1.5) return entmax15_weights(scores);
  // Powers of float32 would lose its digits near alpha 1.
  const at::Tensor wide = scores.to(at::kDouble);
  const at::Tensor alpha = number
                               ? at::full({1}, *number, wide.options().requires_grad(false))
                               : std::get<at::Tensor>(entmax.alpha).to(at::kDouble).clamp(kLeastAlpha, 2.0);
  return entmax_weights(wide, alpha.view({1, -1, 1, 1})).to(scores.scalar_type());
}

}  // namespace

const char* normaliser_name(const AttendNormaliser& normaliser) {
  return kNormalisers[normaliser.index()].first;
}

std::vector<std::string> normaliser_names() {
  std::vector<std::string> names;
  for (const auto& [name, normaliser] : kNormalisers) names.emplace_back(name);
  return names;
}

AttendNormaliser find_normaliser(const std::string& name) {
  for (const auto& [known, normaliser] : kNormalisers) {
    if (name == known) return normaliser;
  }
  const std::vector<std::string> names = normaliser_names();
  throw usage_error("attend", "the normaliser must be a known one", "'" + name + "'",
                    suggest_name(name, names, "There are " + listed(names, "and") + "."));
}

bool has_lse(const AttendNormaliser& normaliser) {
  return std::holds_alternative<Softmax>(normaliser) || std::holds_alternative<SoftmaxSink>(normaliser);
}

std::optional<at::Tensor> alphas_of(const AttendOptions& options) {
  const auto* entmax = std::get_if<Entmax>(&options.normaliser);
  const auto* tensor = entmax ? std::get_if<at::Tensor>(&entmax->alpha) : nullptr;
  return tensor ? std::optional(*tensor) : std::nullopt;
}

std::optional<at::Tensor> sinks_of(const AttendOptions& options) {
  const auto* sink = std::get_if<SoftmaxSink>(&options.normaliser);
  return sink ? sink->scores : std::nullopt;
}

double sigmoid_bias(const Sigmoid& sigmoid, int64_t keys) {
  return sigmoid.bias.value_or(-std::log(static_cast<double>(std::max<int64_t>(keys, 1))));
}

at::Tensor normalise(const AttendNormaliser& normaliser, const at::Tensor& scores,
                     const at::Tensor& allowed) {
  const auto weights = [&](const at::Tensor& shown) {
    return std::visit([&](const auto& by) { return weights_of(by, shown); }, normaliser);
  };
  if (!allowed.defined()) return weights(scores);
  return weights(shown_scores(scores, allowed)).masked_fill(allowed.bitwise_not(), 0.0);
}

at::Tensor log_sum_exp(const AttendNormaliser& normaliser, const at::Tensor& scores,
                       const at::Tensor& allowed) {
  at::Tensor sums;
  if (allowed.defined()) {
    const at::Tensor empty = allowed.expand(scores.sizes()).any(-1).bitwise_not();
    sums = at::logsumexp(shown_scores(scores, allowed), -1).masked_fill(empty, -kInfinity);
  } else {
    sums = at::logsumexp(scores, -1);
  }
  const auto* sink = std::get_if<SoftmaxSink>(&normaliser);
  return sink ? at::logaddexp(sums, sink_scores(*sink, scores).view({1, -1, 1})) : sums;
}

}  // namespace fovea
