#include "fovea/nn/attention/hard.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>

#include "fovea/nn/attention/registry.h"
#include "tests/nn/gap.h"
#include "tests/nn/range_inputs.h"
#include "tests/support/errors.h"

// What hard attention draws, reads and refuses; hard_gradients_test has how it learns.

namespace fovea::nn {
namespace {

using range::seconds_of;

// Batch entries of a call are samples. Of some hundred statistics none is so many deviations off by chance.
constexpr int64_t kDrawn = 20000;
constexpr double kUnlikely = 4.5;

std::shared_ptr<HardAttention> drawing(const std::string& options, const AttentionShape& shape) {
  return std::dynamic_pointer_cast<HardAttention>(parse_attention("hard:" + options).build(shape));
}

// Two draws of five keys, of which one is hidden and holds NaN; of two heads with keys of one.
TEST(Hard, DrawsByTheSoftmaxWithoutReplacement) {
  at::manual_seed(16);
  const at::Tensor scores = at::tensor({0.2, 1.1, -0.7, 9.0, 0.5}, at::kDouble);
  const at::Tensor p = at::softmax(scores.masked_fill(at::arange(5) == 3, -1e9), 0);
  const auto attention = drawing("scale=1,k=2,estimator=reinforce", {2, 1, 1, 1});
  AttentionInput input;
  input.q = at::ones({kDrawn, 2, 1, 1});
  input.k = scores.to(at::kFloat).view({1, 1, 5, 1}).repeat({kDrawn, 1, 1, 1});
  input.k.select(2, 3).fill_(std::numeric_limits<double>::quiet_NaN());
  input.v = input.k.clone();
  input.call.mask = at::arange(5) != 3;
  const at::Tensor out = attention->forward(input).out;
  EXPECT_TRUE(at::isfinite(out).all().item<bool>());
  const at::Tensor keys = attention->choice().keys.select(2, 0);  // (B, 2, 2)
  EXPECT_FALSE((keys == 3).any().item<bool>());
  const auto expect_part = [](const at::Tensor& which, double part, const std::string& what) {
    const double found = which.to(at::kDouble).mean().item<double>();
    const double error = std::sqrt(part * (1 - part) / static_cast<double>(which.numel()));
    EXPECT_LT(std::abs(found - part), kUnlikely * error + 1e-12) << what;
  };
  for (int64_t i = 0; i < 5; ++i) {
    for (int64_t j = 0; j < 5; ++j) {
      const double pi = p[i].item<double>(), pj = p[j].item<double>();
      const std::string pair = std::to_string(i) + ' ' + std::to_string(j);
      expect_part((keys.select(2, 0) == i) & (keys.select(2, 1) == j), i == j ? 0.0 : pi * pj / (1 - pi),
                  "draws " + pair);
      const at::Tensor first = keys.select(2, 0);
      expect_part((first.select(1, 0) == i) & (first.select(1, 1) == j), pi * pj, "heads " + pair);
    }
  }
  const at::Tensor log_p = p.log().to(at::kFloat), one = log_p.index_select(0, keys.select(2, 0).flatten()),
                   two = log_p.index_select(0, keys.select(2, 1).flatten());
  EXPECT_LT(gap(attention->choice().log_probability.flatten(), one + two - (1 - one.exp()).log()), 1e-5);
}

// Queries of one call do not share their noise, and calls of one seed do, on any path and number of threads.
TEST(Hard, TheSeedDecides) {
  at::manual_seed(17);
  const auto attention = drawing("inference=sampled", {2, 2, 8, 8});
  attention->eval();
  AttentionInput input = range::rows_of(2, 2, 300, 8);
  input.q = at::zeros_like(input.q), input.x = at::Tensor();
  input.call.seed = 5;
  const auto keys_of = [&](const AttentionInput& in) {
    AttentionInput shown = in;
    shown.call.weights = true;
    return attention->forward(shown).weights.argmax(3);
  };
  const at::Tensor keys = keys_of(input);
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  EXPECT_TRUE(keys_of(input).equal(keys));
  at::set_num_threads(threads);
  const auto same = [&](const at::Tensor& other) {
    return (other == keys).to(at::kDouble).mean().item<double>();
  };
  AttentionInput other = input;
  other.call.seed = 6;
  EXPECT_LT(same(keys_of(other)), 0.02);
  EXPECT_LT(same(keys.roll(1, 2)), 0.02);
  EXPECT_LT(same(keys.roll(1, 1)), 0.02);
  AttentionInput wide = input;
  for (at::Tensor* t : {&wide.q, &wide.k, &wide.v}) *t = t->to(at::kDouble);
  EXPECT_GT(same(keys_of(wide)), 0.998) << "the definition draws as the kernel does";
  other.call.seed.reset();
  at::manual_seed(3);
  const at::Tensor drawn = keys_of(other);
  EXPECT_FALSE(keys_of(other).equal(drawn));
  at::manual_seed(3);
  EXPECT_TRUE(keys_of(other).equal(drawn));
}

// What is left once nearly all of a softmax is drawn.
TEST(Hard, LaterDrawsOfPeakedScoresKeepTheirDigits) {
  at::manual_seed(18);
  const auto attention = drawing("scale=1,k=3,estimator=reinforce", {1, 1, 1, 1});
  AttentionInput input;
  input.q = at::ones({64, 1, 1, 1});
  input.k = at::tensor({1.0, 200.0, 0.0}, at::kFloat).view({1, 1, 3, 1}).repeat({64, 1, 1, 1});
  input.v = input.k;
  attention->forward(input);
  const at::Tensor keys = attention->choice().keys.view({64, 3});
  EXPECT_TRUE((keys.select(1, 0) == 1).all().item<bool>());
  EXPECT_TRUE((keys.select(1, 1) + keys.select(1, 2) == 2).all().item<bool>());
  const at::Tensor second =
      at::where(keys.select(1, 1) == 0, -std::log1p(std::exp(-1.0)), -std::log1p(std::exp(1.0)));
  EXPECT_LT(gap(attention->choice().log_probability.flatten(), second), 5e-5);
}

TEST(Hard, FewerKeysThanDrawsAreAllOfThem) {
  at::manual_seed(19);
  AttentionInput input = range::rows_of(2, 2, 6, 8);
  input.x = at::Tensor();
  input.call.causal = CausalAlignment::top_left;
  input.call.mask = at::arange(6) > 0;  // the first query sees none
  for (at::Tensor* t : {&input.k, &input.v}) {
    t->select(2, 0).fill_(std::numeric_limits<double>::quiet_NaN());
  }
  input.call.weights = true;
  const auto attention = drawing("k=6,estimator=reinforce", {2, 2, 8, 8});
  const AttentionOutput drawn = attention->forward(input);
  const AttentionOutput exact = parse_attention("softmax").build({2, 2, 8, 8})->forward(input);
  EXPECT_LT(gap(drawn.out, exact.out), 1e-6);
  EXPECT_LT(gap(drawn.weights, exact.weights), 1e-6);
  EXPECT_EQ(drawn.out.select(2, 0).abs().max().item<double>(), 0.0);
  const at::Tensor count = (attention->choice().keys >= 0).sum(3);
  EXPECT_TRUE(count.equal(at::arange(6).expand({2, 2, 6})));
}

TEST(Hard, ExpectedIsSoftmaxAndMaskedNaNIsNot) {
  at::manual_seed(20);
  AttentionInput input = range::rows_of(2, 2, 20, 8);
  input.x = at::Tensor();
  const auto expected = drawing("inference=expected", {2, 2, 8, 8});
  expected->eval();
  EXPECT_TRUE(
      expected->forward(input).out.equal(parse_attention("softmax").build({2, 2, 8, 8})->forward(input).out));
  input.q.select(2, 4).fill_(std::numeric_limits<double>::quiet_NaN());
  for (const bool training : {false, true}) {
    const auto attention = drawing("", {2, 2, 8, 8});
    attention->train(training);
    const at::Tensor spoilt = at::isnan(attention->forward(input).out);
    EXPECT_TRUE(spoilt.equal((at::arange(20) == 4).view({20, 1}).expand({2, 2, 20, 8})))
        << "a score that is not a number is not hidden";
  }
}

TEST(Hard, DropoutTakesDraws) {
  at::manual_seed(21);
  AttentionInput input = range::rows_of(4, 2, 500, 8);
  input.x = at::Tensor();
  input.call.dropout_p = 0.25;
  input.call.weights = true;
  const AttentionOutput result = drawing("", {2, 2, 8, 8})->forward(input);
  EXPECT_LT(gap(at::matmul(result.weights, input.v), result.out), 1e-6);
  const at::Tensor sums = result.weights.sum(-1);
  EXPECT_TRUE(((sums == 0) | ((sums - 4.0 / 3).abs() < 1e-6)).all().item<bool>());
  EXPECT_NEAR((sums == 0).to(at::kDouble).mean().item<double>(), 0.25, 0.03);
}

// Reads N rows of values, whatever M: what others hold is not looked at, and wide ones cost little.
TEST(Hard, ReadsWhatItDrewAlone) {
  at::manual_seed(22);
  AttentionInput input = range::rows_of(1, 1, 2048, 16);
  input.x = at::Tensor();
  input.v = at::randn({1, 1, 2048, 256});
  const auto attention = drawing("", {1, 1, 16, 256});
  attention->eval();
  const torch::NoGradGuard no_grad;
  const double ratio =
      seconds_of(*parse_attention("softmax").build({1, 1, 16, 256}), input) / seconds_of(*attention, input);
  RecordProperty("ratio", std::to_string(ratio));
  EXPECT_GT(ratio, 1.3);
  AttentionInput shown = input;
  shown.call.weights = true;
  const AttentionOutput before = attention->forward(shown);
  const at::Tensor read = before.weights.sum(2) > 0;
  EXPECT_LE(read.sum().item<int64_t>(), 2048);
  input.v = input.v.masked_fill(read.logical_not().unsqueeze(3), std::numeric_limits<double>::quiet_NaN());
  EXPECT_TRUE(attention->forward(input).out.equal(before.out));
}

TEST(Hard, RefusesWhatDoesNotFit) {
  const auto refuses = [](const std::string& part, const auto& call) {
    expect_error(ErrorKind::usage, {"[hard]", part}, call);
  };
  refuses("straight_through draws one key", [] { parse_attention("hard:k=2"); });
  refuses("temperature belongs to straight_through",
          [] { parse_attention("hard:estimator=reinforce,temperature=0.5"); });
  refuses("entropy and baseline_decay belong to rewards", [] { parse_attention("hard:entropy=5"); });
  refuses("baseline_decay must be in [0, 1]",
          [] { parse_attention("hard:estimator=reinforce,baseline_decay=1.5"); });
  const auto attention = drawing("estimator=reinforce", {1, 1, 4, 4}), straight = drawing("", {1, 1, 4, 4});
  refuses("a call while training", [&] { attention->loss_term(at::zeros({2})); });
  AttentionInput input = range::rows_of(2, 1, 5, 4);
  input.x = at::Tensor();
  attention->forward(input), straight->forward(input);
  refuses("(B) or (B, N)", [&] { attention->loss_term(at::zeros({2, 4})); });
  refuses("(B) or (B, N)", [&] { attention->loss_term(at::zeros({2}, at::kLong)); });
  refuses("of another estimator", [&] { straight->loss_term(at::zeros({2})); });
  EXPECT_EQ(attention->loss_term(at::zeros({2, 5})).dim(), 0);
}

}  // namespace
}  // namespace fovea::nn
