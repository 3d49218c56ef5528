#include "fovea/ops/relative_keys.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <string>

#include "fovea/ops/attend.h"
#include "tests/ops/attend_cases.h"
#include "tests/ops/expect_scores.h"

namespace fovea {
namespace {

using test::Tensors, test::expect_same;

// q_i . table[R + clamp(j - i, -R, R)], each pair with a key of its own.
at::Tensor gathered(const at::Tensor& q, const at::Tensor& table, int64_t keys) {
  const int64_t reach = table.size(1) / 2;
  const at::Tensor distance = at::arange(keys) - at::arange(q.size(2)).unsqueeze(1);
  const at::Tensor of_pairs = table.index_select(1, (distance.clamp(-reach, reach) + reach).flatten())
                                  .view({1, table.size(0), q.size(2), keys, q.size(3)});
  return (q.unsqueeze(3) * of_pairs).sum(-1);
}

Tensors operands(int64_t n, int64_t m, int64_t table_heads, int64_t reach, at::ScalarType type = at::kFloat) {
  return {test::make_operand({2, 4, n, 16}, type, "BTHD"), test::make_operand({2, 2, m, 16}, type, "padded"),
          test::make_operand({2, 2, m, 24}, type, "contiguous"),
          at::randn({table_heads, 2 * reach + 1, 16}).to(type)};
}

at::Tensor attend_with(const Tensors& t, const char* path) {
  AttendOptions options;
  options.relative_keys = t[3];
  options.scale = 0.3;
  EXPECT_EQ(attend_choice(t[0], t[1], t[2], options).name, path);
  return attend(t[0], t[1], t[2], options).out;
}

at::Tensor exact_attend(const Tensors& t) {
  const at::Tensor products = at::matmul(t[0], t[1].repeat_interleave(2, 1).transpose(2, 3));
  return test::softmax_times((products + gathered(t[0], t[3], t[1].size(2))) * 0.3, t[2]);
}

TEST(AttendRelativeKeys, AreAKeyForEachDistance) {
  at::manual_seed(101);
  for (const auto& [n, m] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {1, 40}, {40, 1}, {2, 2}, {15, 17}, {64, 63}, {100, 100}, {257, 130}, {90, 257}}) {
    for (const int64_t reach : {0, 7, 300}) {
      const std::string name =
          std::to_string(n) + "x" + std::to_string(m) + " reach " + std::to_string(reach);
      for (const int64_t heads : {1, 4}) {
        expect_same([](const Tensors& t) { return attend_with(t, "fused"); }, exact_attend,
                    operands(n, m, heads, reach), 1e-5, name);
      }
    }
  }
  expect_same([](const Tensors& t) { return attend_with(t, "fused"); }, exact_attend,
              operands(130, 140, 4, 30, at::kHalf), 1.5e-3, "half");
  expect_same([](const Tensors& t) { return attend_with(t, "fused"); }, exact_attend,
              operands(130, 140, 4, 30, at::kBFloat16), 1.2e-2, "bfloat16");
}

TEST(AttendRelativeKeys, OfTheDefinition) {
  at::manual_seed(102);
  expect_same([](const Tensors& t) { return attend_with(t, "composed"); }, exact_attend,
              test::in_double(operands(20, 30, 4, 5)), 1e-13, "float64");
}

TEST(AttendRelativeKeys, Decode) {
  at::manual_seed(103);
  const c10::NoGradGuard no_grad;
  for (const int64_t n : {1, 3}) {
    const Tensors t = operands(n, 300, 4, 40);
    const at::Tensor exact = exact_attend(test::in_double(t));
    EXPECT_LE(((attend_with(t, "decode") - exact).norm() / exact.norm()).item<double>(), 1e-5) << n;
  }
}

TEST(AttendRelativeKeys, BesideABias) {
  at::manual_seed(104);
  Tensors inputs = operands(50, 60, 4, 9);
  inputs.push_back(at::randn({4, 50, 60}));
  expect_same(
      [](const Tensors& t) {
        AttendOptions options;
        options.relative_keys = t[3];
        options.bias = t[4];
        options.softcap = 3.0;
        EXPECT_EQ(attend_choice(t[0], t[1], t[2], options).name, "fused");
        return attend(t[0], t[1], t[2], options).out;
      },
      [](const Tensors& t) {
        const at::Tensor products = at::matmul(t[0], t[1].repeat_interleave(2, 1).transpose(2, 3)) / 4.0;
        return test::softmax_times(at::tanh(products / 3.0) * 3.0 + gathered(t[0], t[3], 60) / 4.0 + t[4],
                                   t[2]);
      },
      inputs, 1e-5, "with bias");
}

TEST(AttendRelativeKeys, TwiceDifferentiable) {
  at::manual_seed(105);
  const auto penalty = [](const Tensors& given) {
    Tensors t;
    for (const auto& x : given) t.push_back(x.detach().requires_grad_());
    const at::Tensor out = attend_with(t, given[0].scalar_type() == at::kDouble ? "composed" : "fused");
    at::Tensor sum = at::zeros({}, out.options());
    for (const auto& g : torch::autograd::grad({out.square().sum()}, t, {}, true, true)) {
      sum = sum + g.square().sum();
    }
    return torch::autograd::grad({sum}, t);
  };
  const Tensors inputs = operands(12, 15, 4, 6);
  const Tensors got = penalty(inputs), exact = penalty(test::in_double(inputs));
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_LT(((got[i] - exact[i]).norm() / exact[i].norm()).item<double>(), 2e-5) << i;
  }
}

// Pairs are not laid out anew: their rows overlap those of the distances.
TEST(AttendRelativeKeys, IsAView) {
  const at::Tensor scores = relative_key_scores(at::randn({1, 2, 30, 8}), at::randn({2, 11, 8}), 1.0, 50);
  EXPECT_EQ(scores.sizes(), (std::vector<int64_t>{1, 2, 30, 50}));
  EXPECT_EQ(scores.stride(3), 1);
  EXPECT_EQ(scores.stride(2), 30 + 50 - 2);
  EXPECT_EQ(relative_key_scores(at::randn({1, 2, 0, 8}), at::randn({2, 11, 8}), 1.0, 5).sizes(),
            (std::vector<int64_t>{1, 2, 0, 5}));
  EXPECT_EQ(relative_key_scores(at::randn({1, 2, 5, 8}), at::randn({2, 11, 8}), 1.0, 0).sizes(),
            (std::vector<int64_t>{1, 2, 5, 0}));
}

}  // namespace
}  // namespace fovea
