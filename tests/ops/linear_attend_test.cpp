#include "fovea/ops/linear_attend.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "fovea/ops/elu_features.h"
#include "fovea/ops/linear_attend_composed.h"
#include "tests/support/errors.h"

namespace fovea {
namespace {

// Features and values, as leaves.
struct LinearCall {
  int64_t queries, keys, heads = 4, kv_heads = 4, features = 5, values = 3;
  LinearAttendOptions options = {};
  at::Tensor q = {}, k = {}, v = {};

  std::string text() const {
    return std::to_string(queries) + " x " + std::to_string(keys) + ", heads " + std::to_string(kv_heads) +
           ", causal " + std::to_string(static_cast<int>(options.causal));
  }
  void draw() {
    const auto leaf = [](at::IntArrayRef sizes) {
      return at::rand(sizes, at::kDouble).add(0.1).requires_grad_();
    };
    q = leaf({2, heads, queries, features}), k = leaf({2, kv_heads, keys, features});
    v = at::randn({2, kv_heads, keys, values}, at::kDouble).requires_grad_();
  }
  /// `out` and its gradients by q, k and v.
  std::vector<at::Tensor> with_gradients(const at::Tensor& out) const {
    const at::Tensor seen = at::arange(out.numel(), at::kDouble).sin().to(out.scalar_type()).view_as(out);
    auto all = torch::autograd::grad({(out * seen).sum()}, {q, k, v}, {}, std::nullopt, false, true);
    for (size_t i = 0; i < 3; ++i) {
      if (!all[i].defined()) all[i] = at::zeros_like(i == 0 ? q : i == 1 ? k : v);
    }
    all.push_back(out.detach());
    return all;
  }
};

double largest_gap(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  double gap = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].numel() == 0) continue;
    const double size = std::max(1.0, b[i].abs().max().item<double>());
    gap = std::max(gap, (a[i] - b[i]).abs().max().item<double>() / size);
  }
  return gap;
}

TEST(LinearAttend, ChunksAreTheDefinition) {
  at::manual_seed(1);
  const std::pair<int64_t, int64_t> sizes[] = {{1, 1},     {63, 63},  {64, 64},  {65, 65},   {257, 257},
                                               {100, 170}, {170, 70}, {1, 200},  {200, 1},   {0, 5},
                                               {5, 0},     {64, 192}, {192, 64}, {130, 129}, {129, 130}};
  for (const auto& [queries, keys] : sizes) {
    for (const auto causal :
         {CausalAlignment::none, CausalAlignment::top_left, CausalAlignment::bottom_right}) {
      for (const int64_t kv_heads : {4, 2}) {
        for (const bool normalised : {true, false}) {
          LinearCall call{queries, keys, 4, kv_heads};
          call.options.causal = causal;
          call.options.normalised = normalised;
          call.draw();
          const auto found = call.with_gradients(linear_attend(call.q, call.k, call.v, call.options).out);
          const auto defined =
              call.with_gradients(linear_attend_composed(call.q, call.k, call.v, call.options).out);
          EXPECT_LT(largest_gap(found, defined), 1e-12) << call.text();
        }
      }
    }
  }
}

// In the norm of each result; of those that are 0 but for rounding, as slopes of the weights of one key, in
// that of the last.
double largest_error(const std::vector<at::Tensor>& found, const std::vector<at::Tensor>& exact) {
  const double last = exact.back().norm().item<double>();
  double error = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const double size = exact[i].norm().item<double>(),
                 gap = (found[i].to(at::kDouble) - exact[i]).norm().item<double>();
    if (gap > 0) error = std::max(error, gap / (size > 1e-9 * last ? size : last));
  }
  return error;
}

// As leaves of another type, (B, T, H, D) in memory; or, of an even number of queries, (B, H, D, T), where
// the numbers of a row stand apart.
LinearCall turned(const LinearCall& call, at::ScalarType type) {
  LinearCall other = call;
  const int64_t last = call.queries % 2 == 0 ? 3 : 1;
  const auto leaf = [&](const at::Tensor& t) {
    return t.detach().to(type).transpose(last, 2).contiguous().transpose(last, 2).requires_grad_();
  };
  other.q = leaf(call.q), other.k = leaf(call.k), other.v = leaf(call.v);
  return other;
}

// In the kernel: chunks that are cut, keys before the first query, keys that no query sees, queries that see
// none, sizes that are no whole vectors, rows behind each other in another order.
TEST(LinearAttend, KernelIsTheDefinition) {
  at::manual_seed(6);
  const std::pair<int64_t, int64_t> sizes[] = {{1, 1},    {31, 31}, {32, 32}, {33, 33},   {100, 170},
                                               {170, 70}, {1, 200}, {200, 3}, {130, 129}, {64, 96}};
  const std::pair<int64_t, int64_t> dims[] = {{5, 3}, {16, 16}, {64, 64}, {66, 40}, {16, 256}};
  for (const auto& [queries, keys] : sizes) {
    for (const auto& [features, values] : dims) {
      for (const auto causal : {CausalAlignment::top_left, CausalAlignment::bottom_right}) {
        for (const int64_t kv_heads : {4, 2}) {
          LinearCall call{queries, keys, 4, kv_heads, features, values};
          call.options.causal = causal;
          call.options.normalised = (queries + features) % 3 > 0;
          call.draw();
          const auto exact =
              call.with_gradients(linear_attend_composed(call.q, call.k, call.v, call.options).out);
          const LinearCall single = turned(call, at::kFloat);
          const auto found =
              single.with_gradients(linear_attend(single.q, single.k, single.v, single.options).out);
          EXPECT_EQ(found.back().scalar_type(), at::kFloat);
          EXPECT_LT(largest_error(found, exact), 3e-6)
              << call.text() << ", sizes " << features << ' ' << values;
        }
      }
    }
  }
}

// Equal weights of the values 0, 1, ...: means of those that are seen.
TEST(LinearAttend, AlignsCausalOrder) {
  const auto means = [](int64_t queries, int64_t keys, CausalAlignment causal) {
    const auto ones = [](int64_t n) { return at::ones({1, 1, n, 2}, at::kDouble); };
    LinearAttendOptions options;
    options.causal = causal;
    const at::Tensor v = at::arange(keys, at::kDouble).view({1, 1, keys, 1});
    return linear_attend(ones(queries), ones(keys), v, options).out.flatten();
  };
  const auto are = [](const at::Tensor& found, const std::vector<double>& expected) {
    EXPECT_TRUE(at::allclose(found, at::tensor(expected, at::kDouble), 0.0, 1e-14)) << found;
  };
  are(means(3, 5, CausalAlignment::top_left), {0.0, 0.5, 1.0});
  are(means(3, 5, CausalAlignment::bottom_right), {1.0, 1.5, 2.0});
  are(means(5, 3, CausalAlignment::bottom_right), {0.0, 0.0, 0.0, 0.5, 1.0});
  are(means(2, 3, CausalAlignment::none), {1.0, 1.0});
}

TEST(LinearAttend, HasGradientsOfGradients) {
  at::manual_seed(2);
  LinearCall call{70, 90, 4, 2};
  call.options.causal = CausalAlignment::bottom_right;
  call.draw();
  const auto second = [&](const at::Tensor& out) {
    const auto first = torch::autograd::grad({out.square().sum()}, {call.q, call.k, call.v}, {}, true, true);
    at::Tensor sum = first[0].square().sum() + first[1].square().sum() + first[2].square().sum();
    return torch::autograd::grad({sum}, {call.q, call.k, call.v});
  };
  EXPECT_LT(largest_gap(second(linear_attend(call.q, call.k, call.v, call.options).out),
                        second(linear_attend_composed(call.q, call.k, call.v, call.options).out)),
            1e-11);
}

// Numbers that are not finite reach the queries that see them and no others, as in the definition.
TEST(LinearAttend, KeepsNanWhereItIs) {
  at::manual_seed(3);
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  for (const auto causal :
       {CausalAlignment::none, CausalAlignment::top_left, CausalAlignment::bottom_right}) {
    for (const auto& [place, type] : std::vector<std::pair<int, at::ScalarType>>{{0, at::kDouble},
                                                                                 {1, at::kDouble},
                                                                                 {2, at::kDouble},
                                                                                 {0, at::kFloat},
                                                                                 {1, at::kFloat},
                                                                                 {2, at::kFloat}}) {
      LinearCall call{100, 150, 4, 2};
      call.options.causal = causal;
      call.options.key_lengths = at::tensor({int64_t{140}, int64_t{60}});
      call.draw();
      const at::NoGradGuard no_grad;
      call.q = call.q.to(type), call.k = call.k.to(type), call.v = call.v.to(type);
      if (place == 0) call.q[0][1][37][2] = kNan;
      if (place == 1) call.k[0][1][71][0] = kNan, call.k[1][0][60][0] = kNan;
      if (place == 2) call.v[0][1][71][1] = kNan, call.v[1][1][149][2] = kNan;
      const at::Tensor found = linear_attend(call.q, call.k, call.v, call.options).out,
                       defined = linear_attend_composed(call.q, call.k, call.v, call.options).out;
      EXPECT_TRUE(found.isnan().any().item<bool>());
      EXPECT_TRUE(found.isnan().equal(defined.isnan())) << place << call.text();
      EXPECT_LT((found - defined).nan_to_num().abs().max().item<double>(),
                type == at::kDouble ? 1e-12 : 1e-5);
    }
  }
}

// Whatever the layout; gradients, and gradients of gradients too.
TEST(EluFeatures, KernelIsTheFormula) {
  at::manual_seed(7);
  const at::Tensor numbers = (at::randn({2, 70, 3, 21}) * 10).to(at::kDouble);
  numbers[0][0][0].slice(0, 0, 4).copy_(at::tensor({0.0, -87.0, 88.0, -0x1p-23}, at::kDouble));
  for (const bool turned : {false, true}) {
    const auto leaf = [&](at::ScalarType type) {
      const at::Tensor t = numbers.to(type).transpose(1, 2);
      return (turned ? t.contiguous() : t).detach().requires_grad_();
    };
    const at::Tensor x = leaf(at::kFloat), exact = leaf(at::kDouble);
    const at::Tensor found = elu_features(x), wanted = at::where(exact > 0, exact + 1, exact.exp());
    EXPECT_LT(((found.detach() - wanted.detach()) / wanted.detach()).abs().max().item<double>(), 4e-7);
    const auto slopes = [](const at::Tensor& out, const at::Tensor& in) {
      const at::Tensor first = torch::autograd::grad({out.square().sum()}, {in}, {}, true, true)[0];
      return std::vector<at::Tensor>{first, torch::autograd::grad({first.sum()}, {in})[0]};
    };
    EXPECT_LT(largest_error(slopes(found, x), slopes(wanted, exact)), 1e-6);
  }
  const float inf = std::numeric_limits<float>::infinity();
  const at::Tensor ends = elu_features(at::tensor({-inf, inf, std::nanf(""), -200.0f}).view({1, 1, 1, 4}));
  EXPECT_TRUE(ends.flatten().slice(0, 0, 2).equal(at::tensor({0.0f, inf})));
  EXPECT_TRUE(ends.flatten()[2].isnan().item<bool>());
  EXPECT_EQ(ends.flatten()[3].item<float>(), 0.0f);
}

// What linear_attend_elu() stands for.
at::Tensor elu_definition(const LinearCall& call) {
  return linear_attend_composed(elu_features(call.q), elu_features(call.k), call.v, call.options).out;
}

at::Tensor elu_results(const LinearCall& call) {
  return linear_attend_elu(call.q, call.k, call.v, call.options).out;
}

// Numbers of any sign, with hidden keys too.
TEST(LinearAttend, EluFeaturesInTheKernel) {
  at::manual_seed(8);
  const std::pair<int64_t, int64_t> sizes[] = {{1, 1}, {33, 33}, {100, 170}, {170, 70}, {64, 96}};
  const std::pair<int64_t, int64_t> dims[] = {{5, 3}, {16, 16}, {66, 40}, {256, 16}};
  for (const auto& [queries, keys] : sizes) {
    for (const auto& [features, values] : dims) {
      for (const auto causal :
           {CausalAlignment::none, CausalAlignment::top_left, CausalAlignment::bottom_right}) {
        for (const bool hides : {false, true}) {
          LinearCall call{queries, keys, 4, 2, features, values};
          call.options.causal = causal;
          call.options.normalised = (queries + features) % 3 > 0;
          if (hides) call.options.key_lengths = at::tensor({keys, keys / 2});
          call.draw();
          call.q = at::randn_like(call.q).requires_grad_(), call.k = at::randn_like(call.k).requires_grad_();
          const auto exact = call.with_gradients(elu_definition(call));
          const LinearCall single = turned(call, at::kFloat);
          // Without causal order by products of whole matrices.
          const double bound = causal == CausalAlignment::none ? 6e-6 : 3e-6;
          EXPECT_LT(largest_error(single.with_gradients(elu_results(single)), exact), bound)
              << call.text() << ", sizes " << features << ' ' << values << ", hides " << hides;
          const LinearCall half = turned(call, at::kBFloat16);
          const at::Tensor rounded = elu_results(half), kept = elu_definition(turned(half, at::kFloat));
          EXPECT_EQ(rounded.scalar_type(), at::kBFloat16);
          EXPECT_TRUE(at::allclose(rounded.to(at::kFloat), kept, 0.01, 1e-3)) << call.text();
        }
      }
    }
  }
}

TEST(LinearAttend, EluFeaturesHaveGradientsOfGradients) {
  at::manual_seed(9);
  LinearCall call{70, 90, 4, 2};
  call.options.causal = CausalAlignment::bottom_right;
  call.draw();
  const auto second = [](const LinearCall& of, const at::Tensor& out) {
    const auto first = torch::autograd::grad({out.square().sum()}, {of.q, of.k, of.v}, {}, true, true);
    const at::Tensor sum = first[0].square().sum() + first[1].square().sum() + first[2].square().sum();
    return torch::autograd::grad({sum}, {of.q, of.k, of.v});
  };
  const LinearCall single = turned(call, at::kFloat);
  EXPECT_LT(largest_error(second(single, elu_results(single)), second(call, elu_definition(call))), 1e-5);
}

TEST(LinearAttend, EluFeaturesKeepNanWhereItIs) {
  const float inf = std::numeric_limits<float>::infinity();
  at::manual_seed(10);
  for (const float number : {std::nanf(""), inf, -inf}) {
    LinearCall call{100, 150, 4, 2};
    call.options.causal = CausalAlignment::top_left;
    call.options.key_lengths = at::tensor({int64_t{140}, int64_t{60}});
    call.draw();
    const at::NoGradGuard no_grad;
    call.q = call.q.to(at::kFloat), call.k = call.k.to(at::kFloat), call.v = call.v.to(at::kFloat);
    call.k[0][1][71][0] = number, call.k[1][0][60][0] = number;
    const at::Tensor found = elu_results(call), defined = elu_definition(call);
    EXPECT_EQ(found.isnan().any().item<bool>(), number != -inf);
    EXPECT_TRUE(found.isnan().equal(defined.isnan())) << number;
    EXPECT_LT((found - defined).nan_to_num().abs().max().item<double>(), 1e-5);
  }
}

TEST(LinearAttend, StepsGoOn) {
  at::manual_seed(4);
  LinearCall call{130, 130, 4, 2};
  call.options.causal = CausalAlignment::top_left;
  for (const bool normalised : {true, false}) {
    call.options.normalised = normalised;
    call.draw();
    at::Tensor state;
    std::vector<at::Tensor> parts;
    for (int64_t begin = 0, length = 0; begin < 130; begin += length) {
      length = begin == 0 ? 100 : 1;
      const auto part = [&](const at::Tensor& t) { return t.slice(2, begin, begin + length); };
      parts.push_back(linear_attend_step(part(call.q), part(call.k), part(call.v), state, normalised));
    }
    const auto found = call.with_gradients(at::cat(parts, 2));
    EXPECT_LT(
        largest_gap(found, call.with_gradients(linear_attend(call.q, call.k, call.v, call.options).out)),
        1e-12);
  }
}

TEST(LinearAttend, RefusesWhatDoesNotFit) {
  LinearCall call{6, 6, 4, 2};
  call.draw();
  const auto refuses = [&](const std::string& part, auto&& change) {
    LinearCall wrong = call;
    change(wrong);
    expect_error(ErrorKind::usage, {"[linear_attend]", part},
                 [&] { linear_attend(wrong.q, wrong.k, wrong.v, wrong.options); });
  };
  refuses("head_dim", [](auto& c) { c.k = c.k.narrow(3, 0, 4); });
  refuses("its mask must be of keys", [](auto& c) { c.options.key_mask = at::ones({6, 6}, at::kBool); });
  refuses("the mask must be boolean", [](auto& c) { c.options.key_mask = at::ones({6}); });
  refuses("key_lengths must be integers", [](auto& c) { c.options.key_lengths = at::ones({2}); });
  at::Tensor state = at::zeros({2, 2, 5, 3}, at::kDouble);
  expect_error(ErrorKind::usage, {"[linear_attend_step]", "the state must be (2, 2, 5, 4)"},
               [&] { linear_attend_step(call.q, call.k, call.v, state); });
  expect_error(ErrorKind::usage, {"[linear_attend_step]", "the same positions"}, [&] {
    at::Tensor none;
    linear_attend_step(call.q.narrow(2, 0, 3), call.k, call.v, none);
  });
}

}  // namespace
}  // namespace fovea
