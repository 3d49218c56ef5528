#include "fovea/ops/additive_attend.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>

#include <cmath>
#include <fstream>
#include <string>

#include "fovea/core/error.h"
#include "tests/ops/additive_cases.h"
#include "tests/ops/expect_attend.h"
#include "tests/support/numbers.h"

namespace fovea {
namespace {

using test::Tensors, test::relative_error;

at::Tensor normal(at::IntArrayRef shape) { return at::randn(shape, at::kDouble); }

// The formula, one number at a time.
at::Tensor by_loops(const Tensors& t, bool causal) {
  const at::Tensor &q = t[0], &k = t[1], &v = t[2], &w = t[3];
  at::Tensor out = at::zeros({q.size(0), q.size(1), q.size(2), v.size(3)}, at::kDouble);
  for (int64_t b = 0; b < q.size(0); ++b) {
    for (int64_t h = 0; h < q.size(1); ++h) {
      for (int64_t i = 0; i < q.size(2); ++i) {
        double total = 0;
        for (int64_t j = 0; j < k.size(2) && !(causal && j > i); ++j) {
          double s = 0;
          for (int64_t e = 0; e < q.size(3); ++e) {
            const double hidden = std::tanh(q[b][h][i][e].item<double>() + k[b][h][j][e].item<double>());
            s += (w.dim() == 2 ? w[h][e] : w[e]).item<double>() * hidden;
          }
          total += std::exp(s);
          out[b][h][i] += v[b][h][j] * std::exp(s);
        }
        out[b][h][i] /= total;
      }
    }
  }
  return out;
}

TEST(AdditiveAttend, EqualsItsFormula) {
  at::manual_seed(31);
  for (const bool causal : {false, true}) {
    for (const at::Tensor& w : {normal({3, 6}), normal({6})}) {
      const Tensors t = {normal({2, 3, 5, 6}), normal({2, 3, 7, 6}), normal({2, 3, 7, 4}), w};
      AttendOptions options;
      if (causal) options.causal = CausalAlignment::top_left;
      EXPECT_LT(relative_error(test::run_additive(t, options), by_loops(t, causal)), 1e-14);
    }
  }
}

// Central differences of the definition along random directions.
TEST(AdditiveAttend, GradientsAreThoseOfFiniteDifferences) {
  at::manual_seed(32);
  const Tensors t = {normal({1, 2, 5, 6}), normal({1, 2, 7, 6}), normal({1, 2, 7, 4}), normal({2, 6})};
  const at::Tensor grad_out = normal({1, 2, 5, 4});
  AttendOptions options;
  options.causal = CausalAlignment::top_left;
  const auto gradients = test::additive_gradients(t, grad_out, options);
  constexpr double step = 1e-5;
  for (size_t i = 0; i < 4; ++i) {
    const at::Tensor direction = at::randn_like(t[i]);
    const auto value = [&](double distance) {
      Tensors moved = t;
      moved[i] = t[i] + direction * distance;
      return (test::run_additive(moved, options) * grad_out).sum().item<double>();
    };
    const double slope = (value(step) - value(-step)) / (2 * step);
    EXPECT_NEAR((gradients[i] * direction).sum().item<double>(), slope, 1e-8 * std::max(1.0, std::abs(slope)))
        << i;
  }
}

TEST(AdditiveAttend, IsWhatTheChoiceSays) {
  at::manual_seed(33);
  const at::Tensor q = at::randn({1, 2, 5, 8}), k = at::randn({1, 2, 6, 8}), v = at::randn({1, 2, 6, 4}),
                   w = at::randn({8}).requires_grad_();
  EXPECT_EQ(additive_attend_choice(q, k, v, w).name, "fused");
  const at::Tensor out = additive_attend(q, k, v, w).out;
  EXPECT_NE(out.grad_fn()->name().find("FusedAdditiveAttention"), std::string::npos) << out.grad_fn()->name();
  out.sum().backward();
  EXPECT_TRUE(w.grad().defined());
  EXPECT_FALSE(q.grad().defined());
}

TEST(AdditiveAttend, TheDefinitionDoesWhatTheKernelCannot) {
  at::manual_seed(34);
  const Tensors t = {at::randn({1, 2, 5, 8}), at::randn({1, 2, 6, 8}), at::randn({1, 2, 6, 4}),
                     at::randn({8})};
  const auto refusal = [&](const AttendOptions& options, at::ScalarType type) {
    const auto choice =
        additive_attend_choice(t[0].to(type), t[1].to(type), t[2].to(type), t[3].to(type), options);
    EXPECT_EQ(choice.name, "composed");
    return choice.refusals.empty() ? std::string() : choice.refusals.front();
  };
  AttendOptions dropout, weights, learned;
  dropout.dropout_p = 0.5;
  weights.weights = true;
  learned.bias = at::zeros({5, 6}).requires_grad_();
  EXPECT_EQ(refusal(dropout, at::kFloat), "fused: dropout is asked for");
  EXPECT_EQ(refusal(weights, at::kFloat), "fused: the weights are asked for");
  EXPECT_EQ(refusal(learned, at::kFloat), "fused: a bias, a table or a functor wants a gradient");
  EXPECT_EQ(refusal({}, at::kDouble), "fused: the type is not float32, bfloat16 or float16");
  EXPECT_EQ(additive_attend_choice(t[0].slice(2, 0, 3), t[1], t[2], t[3]).refusals.front(),
            "fused: with fewer than 4 queries or keys the definition is faster");
  additive_attend(t[0], t[1], t[2], t[3], learned).out.sum().backward();
  EXPECT_TRUE(learned.bias->grad().defined());
  const at::Tensor sums = additive_attend(t[0], t[1], t[2], t[3], weights).weights.sum(-1);
  EXPECT_LT((sums - 1).abs().max().item<double>(), 1e-6);
}

TEST(AdditiveAttend, AMaskedKeyHasNoInfluenceOnTheDefinition) {
  at::manual_seed(35);
  const Tensors t = {normal({1, 1, 4, 6}), normal({1, 1, 5, 6}), normal({1, 1, 5, 3}), normal({6})};
  const at::Tensor grad_out = normal({1, 1, 4, 3});
  AttendOptions options;
  options.causal = CausalAlignment::top_left;
  const auto clean = test::additive_gradients(t, grad_out, options);
  for (const double poison : {test::kNan, test::kInfinity}) {
    t[1].select(2, 4).fill_(poison);
    const auto got = test::additive_gradients(t, grad_out, options);
    for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(at::equal(got[i], clean[i])) << poison << ' ' << i;
  }
}

// A gradient of a gradient, as a penalty on it needs, comes from the definition.
TEST(AdditiveAttend, TwiceDifferentiable) {
  at::manual_seed(36);
  const Tensors t = {at::randn({1, 2, 12, 8}), at::randn({1, 2, 15, 8}), at::randn({1, 2, 15, 8}),
                     at::randn({2, 8})};
  const auto penalty = [](const Tensors& given) {
    Tensors x;
    for (const auto& g : given) x.push_back(g.detach().requires_grad_());
    const auto first = torch::autograd::grad({test::run_additive(x, {}).square().sum()}, {x[0]}, {},
                                             /*retain_graph=*/true, /*create_graph=*/true)[0];
    return torch::autograd::grad({first.square().sum()}, x);
  };
  const auto got = penalty(t), exact = penalty(test::in_double(t));
  for (size_t i = 0; i < 4; ++i) EXPECT_LT(relative_error(got[i].to(at::kDouble), exact[i]), 1e-5) << i;
}

TEST(AdditiveAttend, RefusesWhatDoesNotFit) {
  const at::Tensor q = at::randn({2, 4, 6, 8}), k = at::randn({2, 4, 7, 8}), v = at::randn({2, 4, 7, 3});
  const auto expect_refusal = [&](const at::Tensor& keys, const at::Tensor& w, const AttendOptions& options,
                                  const char* text) {
    try {
      additive_attend(q, keys, v, w, options);
      ADD_FAILURE() << "expected: " << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      EXPECT_EQ(std::string(e.what()).rfind("[additive_attend] ", 0), 0u) << e.what();
      EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
    }
  };
  AttendOptions scale;
  scale.scale = 0.5;
  expect_refusal(k, at::randn({7}), {},
                 "w must have the shape (H, E) or (E); found q (2, 4, 6, 8) float cpu, w (7) float cpu");
  expect_refusal(k, at::randn({3, 8}), {}, "shape (H, E)");
  expect_refusal(k, at::ones({8}, at::kInt), {}, "floating point");
  expect_refusal(k, at::randn({8}), scale, "no scale");
  expect_refusal(at::randn({2, 4, 7, 9}), at::randn({8}), {}, "share head_dim");
  try {
    additive_attend(q, k.slice(1, 0, 2), v.slice(1, 0, 2), at::randn({8}));
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("the same heads"), std::string::npos) << e.what();
  }
}

int64_t peak_bytes() {
  std::ifstream file("/proc/self/status");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stoll(line.substr(6)) * 1024;
  }
  return 0;
}

// The hidden layer of all pairs would take 1 GB.
TEST(AdditiveAttend, TakesNoMemoryForPairs) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's own memory hides it";
#endif
  const auto make = [](at::IntArrayRef shape) { return at::randn(shape).requires_grad_(); };
  const at::Tensor q = make({1, 1, 1024, 256}), k = make({1, 1, 1024, 256}), v = make({1, 1, 1024, 64}),
                   w = make({256});
  additive_attend(q.slice(2, 0, 64), k.slice(2, 0, 64), v.slice(2, 0, 64), w).out.sum().backward();
  std::ofstream("/proc/self/clear_refs") << 5;  // the peak from here on
  const int64_t before = peak_bytes();
  additive_attend(q, k, v, w).out.sum().backward();
  EXPECT_LT(peak_bytes() - before, 64 << 20);
}

}  // namespace
}  // namespace fovea
