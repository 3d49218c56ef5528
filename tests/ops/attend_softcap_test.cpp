#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "fovea/core/error.h"
#include "fovea/ops/attend.h"
#include "fovea/ops/attend_composed.h"
#include "fovea/ops/attend_fused.h"
#include "tests/ops/attend_gradients.h"
#include "tests/support/numbers.h"

namespace fovea {
namespace {

using test::Operands;

// softmax(cap tanh(q k^T / (4 cap))) v
at::Tensor definition(const Operands& t, double cap) {
  const at::Tensor scores = at::matmul(t.q, t.k.transpose(2, 3)) / 4.0;
  return at::matmul(at::softmax(cap * at::tanh(scores / cap), -1), t.v);
}

Operands operands(double size) {
  return {at::randn({1, 2, 130, 16}) * size, at::randn({1, 2, 140, 16}) * size, at::randn({1, 2, 140, 16})};
}

// An error of scores is one of weights; those of this test are at most 2 * `largest`.
void expect_right_softcap(const Operands& t, double cap, double largest) {
  AttendOptions options;
  options.softcap = cap;
  const at::Tensor grad = at::randn({1, 2, 130, 16});
  const Operands exact_inputs = test::learned(test::in_double(t));
  const at::Tensor exact = definition(exact_inputs, cap);
  const auto exact_gradients = torch::autograd::grad(
      {exact}, {exact_inputs.q, exact_inputs.k, exact_inputs.v}, {grad.to(at::kDouble)});
  const double tolerance = 6e-6 + largest * 0x1p-21;
  for (const test::Run run : {attend_fused, test::composed}) {
    const auto got = test::evaluate(run, t, grad, options);
    EXPECT_LE(test::norm_error(got.out, exact), tolerance) << cap;
    for (size_t i = 0; i < 3; ++i) {
      const double size = std::max(exact_gradients[i].norm().item<double>(), 1e-6);
      EXPECT_LE((got.gradients[i].to(at::kDouble) - exact_gradients[i]).norm().item<double>() / size,
                4 * tolerance)
          << cap << " gradient " << i;
    }
  }
}

TEST(AttendSoftcap, CapsOfAnySize) {
  at::manual_seed(101);
  for (const double cap : {0.01, 0.5, 3.0, 50.0, 1e3, 1e6, 1e8, 1e20}) {
    expect_right_softcap(operands(1.0), cap, std::min(cap, 5.0));
  }
}

// Scores far beyond the cap: no gradient passes, and none is NaN.
TEST(AttendSoftcap, SaturatedScores) {
  at::manual_seed(102);
  const Operands t = operands(30.0);
  AttendOptions options;
  options.softcap = 1.0;
  const at::Tensor grad = at::randn({1, 2, 130, 16});
  for (const test::Run run : {attend_fused, test::composed}) {
    const auto got = test::evaluate(run, t, grad, options);
    EXPECT_LE(test::norm_error(got.out, definition(test::in_double(t), 1.0)), 1e-5);
    for (const at::Tensor& gradient : got.gradients) {
      EXPECT_TRUE(at::isfinite(gradient).all().item<bool>());
    }
  }
}

TEST(AttendSoftcap, RefusesWhatFloat32CannotHold) {
  const Operands t = operands(1.0);
  for (const double cap : {0.0, -1.0, 1e-46, 1e-38, 1e38, 1e300, test::kNan}) {
    AttendOptions options;
    options.softcap = cap;
    EXPECT_THROW(attend(t.q, t.k, t.v, options), Error) << cap;
  }
}

}  // namespace
}  // namespace fovea
