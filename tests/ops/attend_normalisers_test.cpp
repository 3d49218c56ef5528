#include "fovea/ops/attend_normalisers.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/ops/attend.h"
#include "tests/ops/normaliser_rows.h"
#include "tests/ops/tensors.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace fovea {
namespace {

using test::by_bisection, test::difference, test::kInfinity, test::kNan, test::random, test::weights_of_rows;

const std::vector<AttendNormaliser>& all_normalisers() {
  static const std::vector<AttendNormaliser> all = {
      Softmax{}, SoftmaxSink{}, SoftmaxSink{at::tensor({0.5, -1.0}, at::kDouble)},
      Sigmoid{}, Sigmoid{0.5},  Sparsemax{},
      Entmax{},  Entmax{1.3},   Entmax{at::tensor({1.2, 1.4}, at::kDouble)}};
  return all;
}

// Scores, gradients by the weights, and what the package entmax 1.3 gives of them.
struct Golden {
  AttendNormaliser normaliser;
  std::vector<double> weights, gradients;
};

TEST(AttendNormalisers, EqualThePackageEntmax) {
  const std::vector<double> scores = {1.2, -0.3, 0.9,  0.85, -2.0, 1.1,  0.2, 0.05,
                                      3.0, 0.5,  -1.0, 2.9,  0.0,  1.75, 2.5, -4.0};
  const std::vector<double> given = {0.5, -1.0, 0.25, 2.0,   -0.75, 1.5,   -0.5, 1.0,
                                     1.0, -2.0, 0.5,  0.125, 3.0,   -0.25, 0.75, -1.5};
  const std::vector<Golden> goldens = {
      {Sparsemax{},
       {0.4375, 0, 0.1375, 0.0875, 0, 0.3375, 0, 0, 8.0 / 15, 0, 0, 6.5 / 15, 0, 0, 0.5 / 15, 0},
       {-0.5625, 0, -0.8125, 0.9375, 0, 0.4375, 0, 0, 0.375, 0, 0, -0.5, 0, 0, 0.125, 0}},
      {Entmax{},
       {0.3441825013305691, 0, 0.19068129360814692, 0.1694727589877432, 0, 0.28801543208976177,
        0.007511808922494998, 0.00013620506128388002, 0.4444178626278187, 0, 0, 0.3802531896272092, 0,
        0.0017344501202005349, 0.17359449762477144, 0},
       {-0.27325886890614987, 0, -0.3125596970023647, 0.42575848887939904, 0, 0.2867007718371922,
        -0.12704007796154482, 0.0003993831534682274, 0.26633379335104784, 0, 0, -0.29320772727670197, 0,
        -0.03542001756178432, 0.062293951487438604, 0}}};
  const auto rows = [](const std::vector<double>& numbers) {
    return at::tensor(numbers, at::kDouble).view({2, 8});
  };
  for (const auto& golden : goldens) {
    const at::Tensor z = rows(scores).requires_grad_(), weights = weights_of_rows(golden.normaliser, z);
    EXPECT_LT(difference(weights, rows(golden.weights)), 1e-15);
    EXPECT_LT(difference(torch::autograd::grad({weights}, {z}, {rows(given)})[0], rows(golden.gradients)),
              1e-14);
  }
}

TEST(AttendNormalisers, SolveTheirEquation) {
  at::manual_seed(61);
  for (const int64_t keys : {1, 2, 15, 16, 17, 63, 64, 100, 257}) {
    for (const double gain : {0.01, 1.0, 30.0}) {
      const at::Tensor z = random({50, keys}) * gain + 100;
      EXPECT_LT(difference(weights_of_rows(Sparsemax{}, z), by_bisection(z, 1)), 3e-14)
          << keys << ' ' << gain;
      EXPECT_LT(difference(weights_of_rows(Entmax{}, z), by_bisection(z / 2, 2)), 3e-14)
          << keys << ' ' << gain;
      const at::Tensor single = weights_of_rows(Entmax{}, z.to(at::kFloat));
      EXPECT_LT(difference(single, weights_of_rows(Entmax{}, z.to(at::kFloat).to(at::kDouble))), 2e-6);
    }
  }
}

// Rows that keep from one key to all of them, in one call; a row with NaN stays one.
TEST(AttendNormalisers, RowsThatKeepFewAndManyKeysSolveTheirEquation) {
  at::manual_seed(62);
  const int64_t keys = 1100;
  const at::Tensor gains = at::logspace(-4, 1.5, 60, 10.0, at::TensorOptions(at::kDouble)).unsqueeze(1);
  at::Tensor z = random({60, keys}) * gains;
  const at::Tensor sparse = by_bisection(z, 1), kept = (sparse > 0).sum(-1);
  EXPECT_LT(kept.min().item<int64_t>(), 8);
  EXPECT_EQ(kept.max().item<int64_t>(), keys);
  EXPECT_TRUE(((kept > 64) & (kept < 512)).any().item<bool>());
  EXPECT_LT(difference(weights_of_rows(Sparsemax{}, z), sparse), 3e-14);
  EXPECT_LT(difference(weights_of_rows(Entmax{}, z), by_bisection(z / 2, 2)), 3e-14);
  z[7][3] = kNan;
  for (const AttendNormaliser& normaliser : {AttendNormaliser(Sparsemax{}), AttendNormaliser(Entmax{})}) {
    const at::Tensor weights = weights_of_rows(normaliser, z);
    EXPECT_TRUE(weights[7].isnan().all().item<bool>());
    EXPECT_EQ(weights.isnan().sum().item<int64_t>(), keys);
  }
}

TEST(AttendNormalisers, ExactLimits) {
  at::manual_seed(62);
  const at::Tensor z = random({20, 33}), on_simplex = at::softmax(z, -1);
  EXPECT_LT(difference(weights_of_rows(Sparsemax{}, on_simplex), on_simplex), 1e-15);
  const at::Tensor one_hot = (z == z.amax(-1, true)).to(at::kDouble);
  for (const AttendNormaliser& sparse : {AttendNormaliser{Sparsemax{}}, AttendNormaliser{Entmax{}}}) {
    EXPECT_TRUE(at::equal(weights_of_rows(sparse, z * 1e5), one_hot));
    EXPECT_LT(difference(weights_of_rows(sparse, at::full({2, 40}, 7.0, at::kDouble)),
                         at::full({2, 40}, 1.0 / 40, at::kDouble)),
              1e-15);
    EXPECT_EQ((weights_of_rows(sparse, z) < 0).sum().item<int64_t>(), 0);
    EXPECT_GT((weights_of_rows(sparse, z) == 0).sum().item<int64_t>(), 0);
  }
  EXPECT_TRUE(
      at::equal(weights_of_rows(SoftmaxSink{at::full({1}, -kInfinity)}, z), weights_of_rows(Softmax{}, z)));
}

TEST(AttendNormalisers, EqualTheirFormulas) {
  at::manual_seed(63);
  const at::Tensor z = random({2, 3, 5, 9}), sink = random({3});
  const at::Tensor e = z.exp(), sums = e.sum(-1, true);
  EXPECT_LT(difference(normalise(SoftmaxSink{}, z, {}), e / (1 + sums)), 1e-15);
  EXPECT_LT(difference(normalise(SoftmaxSink{sink}, z, {}), e / (sink.exp().view({3, 1, 1}) + sums)), 1e-15);
  EXPECT_LT(difference(normalise(Sigmoid{0.3}, z, {}), 1 / (1 + (-z - 0.3).exp())), 1e-15);
  EXPECT_LT(difference(normalise(Sigmoid{}, z, {}), 1 / (1 + 9 * (-z).exp())), 1e-15);
}

// Central differences of a random direction.
double directional(const std::function<at::Tensor(const at::Tensor&)>& f, const at::Tensor& x,
                   const at::Tensor& direction) {
  constexpr double kStep = 1e-5;
  return (f(x + direction * kStep) - f(x - direction * kStep)).item<double>() / (2 * kStep);
}

void expect_derivatives(const AttendNormaliser& normaliser, const at::Tensor& allowed) {
  const at::Tensor z = random({2, 2, 4, 7}).requires_grad_(), by_weights = random({2, 2, 4, 7});
  const auto loss = [&](const at::Tensor& x) {
    return (normalise(normaliser, x, allowed) * by_weights).sin().sum();
  };
  const auto gradient = [&](const at::Tensor& x) {
    return torch::autograd::grad({loss(x)}, {x}, {}, /*retain_graph=*/true, /*create_graph=*/true)[0];
  };
  const at::Tensor direction = random(z.sizes()), first = gradient(z);
  EXPECT_NEAR((first * direction).sum().item<double>(), directional(loss, z.detach(), direction), 1e-8);
  const auto length = [&](const at::Tensor& x) {
    return gradient(x.detach().requires_grad_()).square().sum();
  };
  const at::Tensor second = torch::autograd::grad({first.square().sum()}, {z})[0];
  EXPECT_NEAR((second * direction).sum().item<double>(), directional(length, z.detach(), direction), 1e-7);
}

// First and second, which pass no kink of these scores.
TEST(AttendNormalisers, DerivativesAreThoseOfFiniteDifferences) {
  at::manual_seed(64);
  at::Tensor allowed = at::rand({2, 1, 4, 7}) > 0.3;
  allowed.select(2, 1).fill_(false);
  for (const auto& normaliser : all_normalisers()) {
    SCOPED_TRACE(normaliser_name(normaliser));
    expect_derivatives(normaliser, {});
    expect_derivatives(normaliser, allowed);
  }
}

TEST(AttendNormalisers, WhatIsHiddenHasWeightZeroAndNoInfluence) {
  at::manual_seed(65);
  at::Tensor allowed = at::rand({1, 2, 6, 9}) > 0.4;
  allowed.select(2, 2).fill_(false);
  allowed.select(2, 0).fill_(true);
  const at::Tensor z = random({1, 2, 6, 9}), by_weights = random({1, 2, 6, 9});
  const auto run = [&](const AttendNormaliser& normaliser, const at::Tensor& scores) {
    const at::Tensor x = scores.clone().requires_grad_(), weights = normalise(normaliser, x, allowed);
    return std::pair(weights.detach(), torch::autograd::grad({weights}, {x}, {by_weights})[0]);
  };
  for (const auto& normaliser : all_normalisers()) {
    SCOPED_TRACE(normaliser_name(normaliser));
    const auto [weights, gradient] = run(normaliser, z);
    for (const at::Tensor& t : {weights, gradient}) {
      EXPECT_EQ(t.masked_select(allowed.logical_not()).abs().max().item<double>(), 0.0);
    }
    for (const double poison : {kNan, kInfinity, -kInfinity}) {
      const auto [weights2, gradient2] = run(normaliser, z.masked_fill(allowed.logical_not(), poison));
      EXPECT_TRUE(at::equal(weights, weights2) && at::equal(gradient, gradient2)) << poison;
    }
    at::Tensor spoilt = z.clone();
    spoilt.select(2, 0).select(2, 4).fill_(kNan);
    const at::Tensor row = normalise(normaliser, spoilt, allowed).select(2, 0).select(2, 4);
    EXPECT_TRUE(at::isnan(row).all().item<bool>()) << "a NaN that is seen shows";
  }
}

struct Call {
  at::Tensor q, k, v;
  AttendOptions options;
};

// The sink as a key of its own: its score a bias on a key that is 0, its value 0.
Call with_extra_key(const Call& call, const at::Tensor& sink) {
  const auto zero_row = [](const at::Tensor& t) { return at::constant_pad_nd(t, {0, 0, 0, 1}); };
  const int64_t n = call.q.size(2), m = call.k.size(2), heads = call.q.size(1);
  Call extra{call.q, zero_row(call.k), zero_row(call.v), call.options};
  extra.options.normaliser = Softmax{};
  extra.options.bias = at::cat({at::zeros({heads, n, m}, sink.options().requires_grad(false)),
                                sink.view({-1, 1, 1}).expand({heads, n, 1})},
                               -1);
  extra.options.causal = CausalAlignment::none;
  const at::Tensor i = at::arange(n).unsqueeze(1), j = at::arange(m + 1).unsqueeze(0);
  extra.options.mask = (j <= i + (m - n)) | (j == m);
  return extra;
}

// Forward, log-sum-exp and gradients, where the first 13 queries see the sink alone.
void expect_like_an_extra_key(at::ScalarType type, double tolerance) {
  const auto make = [&](at::IntArrayRef shape) { return at::randn(shape).to(type).requires_grad_(); };
  Call call{make({2, 4, 70, 16}), make({2, 2, 57, 16}), make({2, 2, 57, 24}), {}};
  const at::Tensor sink = make({4}), by_out = at::randn({2, 4, 70, 24}).to(type),
                   by_lse = at::randn({2, 4, 70}).to(type);
  call.options.normaliser = SoftmaxSink{sink};
  call.options.causal = CausalAlignment::bottom_right;
  call.options.lse = true;
  const auto run = [&](const Call& c) {
    const AttendResult got = attend(c.q, c.k, c.v, c.options);
    auto all = torch::autograd::grad({got.out, got.lse}, {call.q, call.k, call.v, sink}, {by_out, by_lse});
    all.push_back(got.out.detach());
    all.push_back(got.lse.detach());
    return all;
  };
  EXPECT_EQ(attend_choice(call.q, call.k, call.v, call.options).name,
            type == at::kFloat ? "fused" : "composed");
  const auto got = run(call), exact = run(with_extra_key(call, sink));
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_LE(difference(got[i], exact[i]), tolerance * exact[i].abs().max().item<double>()) << i;
  }
  EXPECT_EQ(got[4].slice(2, 0, 13).abs().max().item<double>(), 0.0);
}

TEST(AttendNormalisersFused, ASinkIsAKeyWithoutValue) {
  at::manual_seed(66);
  expect_like_an_extra_key(at::kDouble, 1e-14);
  expect_like_an_extra_key(at::kFloat, 3e-6);
}

TEST(AttendNormalisersFused, ASinkFarBelowIsSoftmax) {
  at::manual_seed(67);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    const auto make = [&](at::IntArrayRef shape) { return at::randn(shape).to(type).requires_grad_(); };
    const at::Tensor q = make({1, 2, 140, 16}), k = make({1, 2, 150, 16}), v = make({1, 2, 150, 16}),
                     grad = make({1, 2, 140, 16}).detach();
    const auto run = [&](const AttendNormaliser& normaliser) {
      AttendOptions options;
      options.normaliser = normaliser;
      options.window = AttendWindow{20, 5};
      const at::Tensor out = attend(q, k, v, options).out;
      auto all = torch::autograd::grad({out}, {q, k, v}, {grad});
      all.push_back(out.detach());
      return all;
    };
    const auto exact = run(Softmax{});
    for (const double sink : {-kInfinity, -1e30}) {
      const auto got = run(SoftmaxSink{at::full({2}, sink)});
      for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(at::equal(got[i], exact[i])) << type << sink << i;
    }
  }
}

// A penalty on a gradient, by the definition.
TEST(AttendNormalisersFused, TwiceDifferentiable) {
  at::manual_seed(68);
  const std::vector<at::Tensor> given = {at::randn({1, 2, 12, 8}), at::randn({1, 1, 15, 8}),
                                         at::randn({1, 1, 15, 8}), at::randn({2})};
  const auto penalty = [&](at::ScalarType type, bool sigmoid) {
    std::vector<at::Tensor> x;
    for (const auto& t : given) x.push_back(t.to(type).requires_grad_());
    AttendOptions options;
    options.normaliser = sigmoid ? AttendNormaliser{Sigmoid{}} : AttendNormaliser{SoftmaxSink{x[3]}};
    if (sigmoid) x.pop_back();
    const at::Tensor loss = attend(x[0], x[1], x[2], options).out.square().sum();
    const auto first =
        torch::autograd::grad({loss}, {x.back()}, {}, /*retain_graph=*/true, /*create_graph=*/true)[0];
    return torch::autograd::grad({first.square().sum()}, x);
  };
  for (const bool sigmoid : {false, true}) {
    const auto got = penalty(at::kFloat, sigmoid), exact = penalty(at::kDouble, sigmoid);
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_LE(difference(got[i], exact[i]), 1e-5 * exact[i].abs().max().item<double>()) << sigmoid << i;
    }
  }
}

// Queries that see no key give 0, and no gradient, even one that is NaN; by all normalisers and both paths.
TEST(AttendNormalisersFused, AFullyHiddenRowGivesZeroAndNoGradient) {
  at::manual_seed(69);
  for (const auto type : {at::kFloat, at::kDouble}) {
    for (const auto& normaliser : all_normalisers()) {
      SCOPED_TRACE(normaliser_name(normaliser));
      const auto make = [&](at::IntArrayRef shape) { return at::randn(shape).to(type).requires_grad_(); };
      const at::Tensor q = make({1, 2, 40, 8}), k = make({1, 2, 30, 8}), v = make({1, 2, 30, 8});
      const at::Tensor sink = at::tensor({0.5, -kInfinity}).requires_grad_();
      AttendOptions options;
      options.causal = CausalAlignment::bottom_right;  // the first 10 see none
      options.normaliser = normaliser;
      if (std::holds_alternative<SoftmaxSink>(normaliser)) options.normaliser = SoftmaxSink{sink};
      const at::Tensor out = attend(q, k, v, options).out, grad = at::randn_like(out);
      EXPECT_EQ(out.slice(2, 0, 10).abs().max().item<double>(), 0.0);
      const auto gradients = [&] {
        return torch::autograd::grad({out}, {q, k, v, sink}, {grad}, /*retain_graph=*/true, false,
                                     /*allow_unused=*/true);
      };
      const auto clean = gradients();
      EXPECT_EQ(clean[0].slice(2, 0, 10).abs().max().item<double>(), 0.0);
      grad.slice(2, 0, 10).fill_(kNan);
      const auto got = gradients();
      for (const size_t i : {0, 1, 3}) {
        EXPECT_TRUE(!clean[i].defined() || at::equal(got[i], clean[i])) << i;
      }
    }
  }
}

// A sink belongs to one part.
TEST(AttendNormalisersFused, PartsOfTheKeysMergeByLogSumExp) {
  at::manual_seed(70);
  const at::Tensor q = at::randn({1, 2, 60, 32}), k = at::randn({1, 2, 200, 32}),
                   v = at::randn({1, 2, 200, 32});
  const auto part = [&](int64_t begin, int64_t end, const AttendNormaliser& normaliser) {
    AttendOptions options;
    options.lse = true;
    options.normaliser = normaliser;
    return attend(q, k.slice(2, begin, end), v.slice(2, begin, end), options);
  };
  const SoftmaxSink sink{at::tensor({3.0, 6.0})};
  const auto a = part(0, 70, sink), b = part(70, 200, Softmax{}), whole = part(0, 200, sink);
  const at::Tensor lse = at::logaddexp(a.lse, b.lse);
  const at::Tensor merged =
      a.out * (a.lse - lse).exp().unsqueeze(3) + b.out * (b.lse - lse).exp().unsqueeze(3);
  EXPECT_TRUE(at::allclose(lse, whole.lse, 1e-6, 2e-6));
  EXPECT_TRUE(at::allclose(merged, whole.out, 1e-5, 2e-6));
}

TEST(AttendNormalisers, AreFoundByTheirNames) {
  const std::vector<std::string> names = normaliser_names();
  EXPECT_EQ(names, (std::vector<std::string>{"softmax", "softmax_sink", "sigmoid", "sparsemax", "entmax15"}));
  for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(find_normaliser(names[i]).index(), i);
  EXPECT_EQ(message_of(ErrorKind::usage, [] { find_normaliser("sigmiod"); }),
            "[attend] the normaliser must be a known one; found 'sigmiod'. Did you mean 'sigmoid'?");
  EXPECT_EQ(
      message_of(ErrorKind::usage, [] { find_normaliser("temperature"); }),
      "[attend] the normaliser must be a known one; found 'temperature'. There are softmax, softmax_sink, "
      "sigmoid, sparsemax and entmax15.");
}

TEST(AttendNormalisers, RefuseWhatDoesNotFit) {
  const at::Tensor q = at::randn({1, 2, 5, 8});
  const auto expect_refusal = [&](const AttendNormaliser& normaliser, bool lse, const char* text) {
    AttendOptions options;
    options.normaliser = normaliser;
    options.lse = lse;
    try {
      attend(q, q, q, options);
      ADD_FAILURE() << "expected: " << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
    }
  };
  expect_refusal(SoftmaxSink{at::zeros({3})}, false, "for each head of q, (H); found (3) float cpu");
  expect_refusal(SoftmaxSink{at::zeros({2}, at::kLong)}, false, "for each head of q, (H)");
  expect_refusal(Sigmoid{kInfinity}, false, "bias of a sigmoid must be finite; found inf");
  expect_refusal(Sigmoid{}, true, "lse needs a softmax, with or without sink; found sigmoid");
  expect_refusal(Sparsemax{}, true, "found sparsemax");
  expect_refusal(Entmax{}, true, "found entmax15");
  expect_refusal(Entmax{1.0}, false, "the alpha of entmax must be above 1 and at most 2; found 1.");
  expect_refusal(Entmax{2.5}, false, "above 1 and at most 2; found 2.5");
  expect_refusal(Entmax{at::ones({3})}, false,
                 "the alpha of entmax must be one number, or one for each head");
}

}  // namespace
}  // namespace fovea
