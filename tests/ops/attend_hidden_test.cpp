#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "fovea/core/error.h"
#include "fovea/ops/additive_attend.h"
#include "fovea/ops/attend.h"
#include "fovea/ops/attend_composed.h"
#include "fovea/ops/attend_fused.h"
#include "tests/ops/attend_gradients.h"
#include "tests/support/numbers.h"

// What is hidden has no influence on gradients either, whatever stands there.

namespace fovea {
namespace {

using test::Operands, test::kInfinity, test::kNan;

Operands operands(at::ScalarType type = at::kFloat) {
  return {at::randn({2, 2, 20, 8}).to(type), at::randn({2, 2, 24, 8}).to(type),
          at::randn({2, 2, 24, 8}).to(type)};
}

AttendOptions masked(const at::Tensor& mask) {
  AttendOptions options;
  options.mask = mask;
  return options;
}

bool all_finite_gradients(const test::Gradients& gradients) {
  return std::all_of(gradients.begin(), gradients.end(),
                     [](const at::Tensor& t) { return at::isfinite(t).all().item<bool>(); });
}

// The last key is hidden from all.
at::Tensor all_but_the_last_key() { return (at::arange(24) < 23).unsqueeze(0).expand({20, 24}); }

TEST(AttendHidden, ANanKeyUnderACapAndAWidth) {
  at::manual_seed(111);
  for (const auto type : {at::kFloat, at::kDouble}) {
    Operands t = operands(type);
    t.k.select(2, 23).select(2, 0).fill_(kNan);
    AttendOptions options = masked(all_but_the_last_key());
    options.softcap = 2.0;
    options.similarity = Gaussian{2.0};
    EXPECT_TRUE(
        all_finite_gradients(test::evaluate(attend, t, at::randn({2, 2, 20, 8}, type), options).gradients));
  }
}

TEST(AttendHidden, ANanKeyAndSlopesThatLearnBeforeACap) {
  at::manual_seed(112);
  Operands t = operands();
  t.k.select(2, 23).select(2, 0).fill_(kNan);
  const at::Tensor slopes = at::rand({2}).requires_grad_();
  AttendOptions options = masked(all_but_the_last_key());
  options.functors = bind(Chain(Alibi{float_table(slopes)}, SoftCap{3.0f}));
  for (const test::Run run : {attend_fused, test::composed}) {
    const at::Tensor out = run(t.q, t.k, t.v, options).out;
    EXPECT_TRUE(all_finite_gradients(torch::autograd::grad({out}, {slopes}, {at::randn_like(out)})));
  }
}

// A query that sees no key, as those of padding.
TEST(AttendHidden, ANanQueryThatSeesNoKey) {
  at::manual_seed(113);
  const at::Tensor mask = (at::arange(20) != 3).unsqueeze(1).expand({20, 24});
  Operands t = operands();
  t.q.select(2, 3).fill_(kNan);
  AttendOptions plain = masked(mask), relative = masked(mask);
  relative.relative_keys = at::randn({2, 9, 8});
  const at::Tensor grad = at::randn({2, 2, 20, 8});
  for (const AttendOptions& options : {plain, relative}) {
    for (const test::Run run : {attend_fused, test::composed}) {
      const auto got = test::evaluate(run, t, grad, options);
      EXPECT_TRUE(at::equal(got.out.select(2, 3), at::zeros({2, 2, 8})));
      EXPECT_TRUE(all_finite_gradients(got.gradients));
    }
  }
  const at::Tensor w = at::randn({2, 8}).requires_grad_(), k = t.k.detach().requires_grad_();
  AttendOptions weights = plain;
  weights.weights = true;
  const at::Tensor out = additive_attend(t.q, k, t.v, w, weights).out;
  EXPECT_TRUE(all_finite_gradients(torch::autograd::grad({out}, {k, w}, {grad})));
}

TEST(AttendHidden, LseOfRowsWithoutAKeyBesideANan) {
  at::manual_seed(114);
  const at::Tensor mask = all_but_the_last_key().clone();
  mask[5].fill_(false);
  Operands t = operands(at::kDouble);
  t.k.select(2, 23).fill_(kNan);
  AttendOptions options = masked(mask);
  options.lse = true;
  const Operands inputs = test::learned(t);
  const at::Tensor lse = attend(inputs.q, inputs.k, inputs.v, options).lse;
  EXPECT_TRUE((lse.select(2, 5) == -kInfinity).all().item<bool>());
  const at::Tensor shown = lse.masked_fill(lse == -kInfinity, 0.0);
  EXPECT_TRUE(all_finite_gradients(torch::autograd::grad({shown.sum()}, {inputs.q, inputs.k})));
}

TEST(AttendHidden, ABiasOfMinusInfinityHides) {
  at::manual_seed(115);
  const at::Tensor bias = at::randn({1, 1, 20, 24});
  bias[0][0][4].fill_(-kInfinity);
  bias.select(3, 7).fill_(-kInfinity);
  AttendOptions options, by_mask;
  options.bias = bias;
  by_mask.bias = bias.masked_fill(bias == -kInfinity, 0.0);
  by_mask.mask = bias != -kInfinity;
  const Operands t = operands();
  const at::Tensor grad = at::randn({2, 2, 20, 8});
  const auto exact = test::evaluate_exactly(t, grad, by_mask);
  for (const test::Run run : {attend_fused, test::composed}) {
    const auto got = test::evaluate(run, t, grad, options);
    EXPECT_LE(test::norm_error(got.out, exact.out), 1e-6);
    for (size_t i = 0; i < 4; ++i)
      EXPECT_LE(test::norm_error(got.gradients[i], exact.gradients[i]), 1e-5) << i;
  }
}

TEST(AttendHidden, LengthsOfAnyIntegerType) {
  at::manual_seed(116);
  const at::Tensor q = at::randn({2, 1, 20, 8}), k = at::randn({2, 1, 300, 8});
  AttendOptions options;
  options.key_lengths = at::tensor({100, 7}).to(at::kLong);
  const at::Tensor out = attend(q, k, k, options).out;
  for (const auto type : {at::kByte, at::kChar, at::kShort, at::kInt}) {
    options.key_lengths = at::tensor({100, 7}).to(type);
    EXPECT_TRUE(at::equal(attend(q, k, k, options).out, out)) << c10::toString(type);
  }
}

TEST(AttendHidden, ChangingWhatTheGradientReadsIsRefused) {
  at::manual_seed(117);
  const Operands t = test::learned(operands());
  AttendOptions biased, hidden = masked(at::ones({20, 24}, at::kBool).tril(4));
  biased.bias = at::randn({20, 24});
  for (const AttendOptions& options : {biased, hidden}) {
    const at::Tensor out = attend_fused(t.q, t.k, t.v, options).out;
    (options.bias ? *options.bias : *options.mask)[3].zero_();
    try {
      out.sum().backward();
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("must keep their numbers"), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace fovea
