#include "fovea/ops/attend_composed.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "fovea/ops/attend.h"
#include "fovea/ops/attend_functors.h"
#include "tests/ops/tensors.h"
#include "tests/support/numbers.h"

namespace fovea {
namespace {

using test::kInfinity, test::kNan, test::random_leaf;

at::Tensor spoil(const at::Tensor& t, int64_t key, double poison) {
  at::Tensor copy = t.detach().clone();
  copy.select(2, key).select(2, 1).fill_(poison);
  return copy.requires_grad_();
}

// The last key is hidden from every query but the last, which is left out of the second half.
TEST(AttendComposed, WhatIsHiddenHasNoInfluenceForwardAndBackward) {
  at::manual_seed(1);
  const auto q = random_leaf({1, 2, 6, 4}), k = random_leaf({1, 2, 6, 4}), v = random_leaf({1, 2, 6, 4});
  AttendOptions options;
  options.causal = CausalAlignment::top_left;
  const auto first_five = [](const at::Tensor& t) { return t.detach().slice(2, 0, 5).requires_grad_(); };
  const auto q5 = first_five(q);
  const auto clean = attend(q5, k, v, options).out;
  const auto expected = torch::autograd::grad({clean.sum()}, {q5, k, v});
  for (const double poison : {kNan, kInfinity, -kInfinity}) {
    for (const bool value : {false, true}) {
      const auto k2 = value ? k.detach().clone().requires_grad_() : spoil(k, 5, poison);
      const auto v2 = value ? spoil(v, 5, poison) : v.detach().clone().requires_grad_();
      const auto out = attend(q5, k2, v2, options).out;
      EXPECT_TRUE(at::equal(out, clean)) << poison << value;
      const auto got = torch::autograd::grad({out.sum()}, {q5, k2, v2});
      for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(got[i], expected[i])) << poison << value << i;
      const auto whole = attend(q, k2, v2, options).out;
      EXPECT_TRUE(at::allclose(whole.slice(2, 0, 5), clean, 1e-14)) << poison << value;
      if (value) {
        EXPECT_FALSE(at::isfinite(whole.select(2, 5).select(2, 1)).any().item<bool>());
      }
    }
  }
}

// Finite differences; the slopes are learned.
TEST(AttendComposed, GradientOfALearnedTable) {
  at::manual_seed(2);
  const auto q = at::randn({1, 2, 7, 4}, at::kDouble), k = at::randn({1, 2, 9, 4}, at::kDouble),
             v = at::randn({1, 2, 9, 3}, at::kDouble);
  const auto slopes = at::tensor({0.5f, 0.25f}).requires_grad_();
  const auto loss = [&](const at::Tensor& s) {
    AttendOptions options;
    options.functors = bind(Alibi{float_table(s)}, Causal(2));
    return attend(q, k, v, options).out.square().sum();
  };
  loss(slopes).backward();
  for (int64_t h = 0; h < 2; ++h) {
    const double step = 0x1p-9;
    const auto moved = [&](double by) {
      auto s = slopes.detach().clone();
      s[h] += by;
      return loss(s).item<double>();
    };
    EXPECT_NEAR(slopes.grad()[h].item<double>(), (moved(step) - moved(-step)) / (2 * step), 1e-4);
  }
}

TEST(AttendComposed, FunctorsMeanWhatTheOptionsMean) {
  at::manual_seed(3);
  const auto q = at::randn({2, 2, 6, 4}), k = at::randn({2, 2, 8, 4}), v = at::randn({2, 2, 8, 4});
  const auto i = at::arange(6).unsqueeze(1), j = at::arange(8).unsqueeze(0);
  const auto slopes = at::tensor({0.5f, 0.25f});
  AttendOptions tensors, functors;
  tensors.weights = functors.weights = true;
  tensors.mask = ((j <= i) & (i - j <= 3)) | (j < 2);
  tensors.bias = -slopes.view({1, 2, 1, 1}) * (i - j).abs();
  functors.functors = bind(Alibi{float_table(slopes)}, (Causal() & Window(3, 0)) | Prefix(2));
  const auto a = attend(q, k, v, tensors), b = attend(q, k, v, functors);
  EXPECT_LT((a.weights - b.weights).abs().max().item<double>(), 1e-6);
}

}  // namespace
}  // namespace fovea
