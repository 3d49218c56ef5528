#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "fovea/kernels/additive_args.h"
#include "tests/ops/additive_cases.h"
#include "tests/ops/expect_attend.h"
#include "tests/support/numbers.h"

namespace fovea {
namespace {

using test::Tensors, test::AttendCase, test::same_bits;

double largest(const at::Tensor& t) { return t.numel() ? t.abs().max().item<double>() : 0.0; }

// One rounding of the result; the rest is float32.
double rounding(at::ScalarType type) {
  return type == at::kBFloat16 ? 0x1p-8 : type == at::kHalf ? 0x1p-11 : 0.0;
}

// |a - b| / |b| in the norm. A gradient that is 0 but for rounding, as of queries with one key, is measured
// against the largest of the four; that of w adds up the errors of all pairs.
double gradient_error(const Tensors& got, const Tensors& exact, size_t i) {
  double largest_norm = 0;
  for (const auto& g : exact) largest_norm = std::max(largest_norm, g.norm().item<double>());
  const double size = std::max(exact[i].norm().item<double>(), (i == 3 ? 0.3 : 0.05) * largest_norm);
  return (got[i].to(at::kDouble) - exact[i]).norm().item<double>() / std::max(size, 1e-30);
}

void expect_right_gradients(const Tensors& t, const AttendOptions& options, const std::string& name,
                            double score_error = 0.0) {
  const at::Tensor grad_out =
      at::randn({t[0].size(0), t[0].size(1), t[0].size(2), t[2].size(3)}).to(t[0].scalar_type());
  const auto got = test::additive_gradients(t, grad_out, options),
             exact = test::additive_gradients(test::in_double(t), grad_out, test::in_double(options));
  const char* names[] = {"q", "k", "v", "w"};
  for (size_t i = 0; i < 4; ++i) {
    ASSERT_EQ(got[i].sizes(), exact[i].sizes());
    ASSERT_EQ(got[i].scalar_type(), t[i].scalar_type());
    ASSERT_LE(gradient_error(got, exact, i), 5e-6 + rounding(t[i].scalar_type()) + score_error)
        << name << " gradient of " << names[i];
  }
}

void expect_right_additive(const AttendCase& c, bool shared = false) {
  const auto t = test::make_additive_operands(c, shared);
  const AttendOptions options = test::make_options_without_dropout(c);
  if (std::min(c.queries, c.keys) >= 4) {
    ASSERT_EQ(additive_attend_choice(t[0], t[1], t[2], t[3], options).name, "fused") << c.name();
  }
  const at::Tensor out = test::run_additive(t, options),
                   exact = test::run_additive(test::in_double(t), test::in_double(options));
  ASSERT_EQ(out.scalar_type(), c.type);
  ASSERT_EQ(out.sizes(), exact.sizes());
  ASSERT_LE(largest(out.to(at::kDouble) - exact), (6e-6 + rounding(c.type)) * largest(t[2].to(at::kDouble)))
      << c.name();
  expect_right_gradients(t, options, c.name(), test::score_error(c));
}

TEST(AdditiveFused, EqualsTheDefinition) {
  at::manual_seed(41);
  bool shared = false;
  for (const auto& c : test::additive_cases(test::scaled(80), 43)) {
    expect_right_additive(c, shared = !shared);
    if (HasFatalFailure()) return;
  }
}

TEST(AdditiveFused, EveryFunctorWithEveryLayout) {
  at::manual_seed(42);
  for (const auto& functors : test::functor_names()) {
    for (const auto& layout : test::layouts()) {
      expect_right_additive({1, 2, 2, 270, 150, 7, 24, at::kFloat, layout, functors});
      if (HasFatalFailure()) return;
    }
  }
}

TEST(AdditiveFused, ManyBlocksAndParts) {
  at::manual_seed(43);
  expect_right_additive({1, 1, 1, 257, 257, 256, 256, at::kFloat, "contiguous", "none"});
  expect_right_additive({1, 1, 1, 300, 1500, 17, 8, at::kFloat, "contiguous", "none"});
  expect_right_additive({1, 1, 1, 1500, 700, 6, 8, at::kFloat, "contiguous", "causal"});
}

// With a single key the log-sum-exp is the score.
at::Tensor kernel_scores(const at::Tensor& q, const at::Tensor& key, const at::Tensor& w) {
  const at::Tensor out = at::empty({q.size(0), 1}), lse = at::empty({q.size(0)}), value = at::ones({1, 1});
  const auto operand = [](const at::Tensor& t) {
    return kernels::Operand{t.const_data_ptr(), 0, 0, t.size(1)};
  };
  const kernels::ForwardArgs args{.n = {1, 1, 1, q.size(0), 1, q.size(1), 1},
                                  .type = kernels::Type::f32,
                                  .q = operand(q),
                                  .k = operand(key),
                                  .v = operand(value),
                                  .out = {out.mutable_data_ptr(), 0, 0, 1},
                                  .lse = lse.mutable_data_ptr<float>(),
                                  .unrounded = nullptr,
                                  .scale = 1.0f,
                                  .programs = {},
                                  .dropout = {},
                                  .normaliser = {}};
  kernels::additive_forward({args, w.const_data_ptr<float>(), 0});
  return lse;
}

// e^{2(q + k)} must neither overflow nor lose digits, wherever the numbers lie.
TEST(AdditiveFused, ScoresOfNumbersOfAnySize) {
  at::manual_seed(44);
  const int64_t dim = 30;
  const at::Tensor w = at::randn({dim});
  const double bound = 1e-6 * w.abs().sum().item<double>();
  for (const double range : {0.0, 0.01, 1.0, 4.0, 12.0, 60.0, 1e3, 1e4, 1e6, 1e30}) {
    for (const double centre : {0.0, 3.9, 50.0, -1e4, 1e8}) {
      const at::Tensor q = (at::randn({200, dim}) * range + centre).to(at::kFloat);
      const at::Tensor near = (at::randn({1, dim}) - q[7]).to(at::kFloat),
                       far = (at::randn({1, dim}) * range).to(at::kFloat);
      for (const at::Tensor& key : {near, far}) {
        const at::Tensor exact =
            at::matmul(at::tanh(q.to(at::kDouble) + key.to(at::kDouble)), w.to(at::kDouble));
        EXPECT_LE(largest(kernel_scores(q, key, w).to(at::kDouble) - exact), bound) << range << ' ' << centre;
      }
    }
  }
}

TEST(AdditiveFused, HugeNumbersForwardAndBackward) {
  at::manual_seed(45);
  for (const double range : {20.0, 60.0, 1e4}) {
    auto t = test::make_additive_operands({1, 2, 2, 70, 90, 24, 16, at::kFloat, "contiguous", "none"});
    t[0] = at::round(at::randn({1, 2, 70, 24}) * range);
    t[1] = at::randn({1, 2, 90, 24}) - t[0].slice(2, 0, 1);
    t[0].select(3, 0).fill_(60.0);
    t[1].select(3, 0).fill_(-59.0);
    const at::Tensor out = test::run_additive(t, {}), exact = test::run_additive(test::in_double(t), {});
    EXPECT_LE(largest(out - exact), 1e-5 * largest(t[2])) << range;
    expect_right_gradients(t, {}, "range " + std::to_string(range));
  }
}

TEST(AdditiveFused, InfiniteNumbersSaturate) {
  at::Tensor q = at::zeros({3, 2}), w = at::full({2}, 0.5);
  q.select(1, 0).copy_(at::tensor({test::kInfinity, -test::kInfinity, test::kNan}));
  const at::Tensor scores = kernel_scores(q, at::zeros({1, 2}), w),
                   swapped = kernel_scores(at::zeros({3, 2}), q.slice(0, 0, 1), w);
  EXPECT_NEAR(scores[0].item<float>(), 0.5, 1e-6);
  EXPECT_NEAR(scores[1].item<float>(), -0.5, 1e-6);
  EXPECT_TRUE(std::isnan(scores[2].item<float>()));
  EXPECT_NEAR(swapped[0].item<float>(), 0.5, 1e-6);
}

TEST(AdditiveFused, TheLogSumExpAndItsGradient) {
  at::manual_seed(50);
  const auto t = test::make_additive_operands({1, 2, 2, 70, 90, 24, 16, at::kFloat, "contiguous", "none"});
  AttendOptions options;
  options.lse = true;
  options.window = AttendWindow{9, 5};
  const at::Tensor grad_lse = at::randn({1, 2, 70});
  const auto run = [&](const Tensors& given, auto attend) {
    Tensors x;
    for (const auto& g : given) x.push_back(g.detach().requires_grad_());
    const AttendResult result = attend(x[0], x[1], x[2], x[3], options);
    auto found = torch::autograd::grad({result.out.sum() + (result.lse * grad_lse).sum()}, x);
    found.push_back(result.lse.detach());
    return found;
  };
  const auto got = run(t, additive_attend_fused), exact = run(test::in_double(t), additive_attend);
  for (size_t i = 0; i < 5; ++i) EXPECT_LE(gradient_error(got, exact, i), 5e-6) << i;
}

TEST(AdditiveFused, TheSameBitsOnAnyNumberOfThreads) {
  at::manual_seed(46);
  const int before = at::get_num_threads();
  for (const AttendCase& c : {AttendCase{1, 1, 1, 300, 700, 40, 24, at::kFloat, "contiguous", "none"},
                              AttendCase{3, 2, 2, 140, 300, 24, 24, at::kBFloat16, "BTHD", "window"},
                              AttendCase{5, 4, 4, 40, 30, 8, 8, at::kFloat, "contiguous", "softcap"}}) {
    const auto t = test::make_additive_operands(c, /*shared=*/true);
    const AttendOptions options = test::make_options_without_dropout(c);
    const at::Tensor grad_out = at::randn({c.batch, c.heads, c.queries, c.value_dim});
    const auto all = [&](int threads) {
      at::set_num_threads(threads);
      auto found = test::additive_gradients(t, grad_out, options);
      found.push_back(test::run_additive(t, options));
      return found;
    };
    const auto one = all(1);
    for (const int threads : {2, 3}) {
      const auto more = all(threads);
      for (size_t i = 0; i < one.size(); ++i)
        EXPECT_TRUE(same_bits(one[i], more[i])) << c.name() << threads << i;
    }
  }
  at::set_num_threads(before);
}

// The last key is seen by no query. Output and gradients keep their bits whatever it holds, its own are 0.
TEST(AdditiveFused, WhatIsHiddenHasNoInfluence) {
  at::manual_seed(47);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const AttendCase c{1, 2, 2, 199, 200, 32, 24, type, "padded", "causal"};
    const auto t = test::make_additive_operands(c);
    AttendOptions options;
    options.causal = CausalAlignment::top_left;
    const at::Tensor grad_out = at::randn({1, 2, 199, 24});
    const auto all = [&] {
      auto found = test::additive_gradients(t, grad_out, options);
      found.push_back(test::run_additive(t, options));
      return found;
    };
    const auto clean = all();
    EXPECT_EQ(largest(clean[1].select(2, 199)), 0.0);
    for (const double poison : {test::kNan, test::kInfinity}) {
      for (const at::Tensor& spoilt : {t[1], t[2]}) {
        const at::Tensor number = spoilt.select(2, 199).select(2, 3), kept = number.clone();
        number.fill_(poison);
        const auto got = all();
        for (size_t i = 0; i < got.size(); ++i)
          EXPECT_TRUE(same_bits(got[i], clean[i])) << poison << ' ' << i;
        number.copy_(kept);
      }
    }
  }
}

// A key in the middle: the queries before it keep their output and their gradient; outputs of those that see
// it are not finite.
TEST(AdditiveFused, ASpoiltKeySpoilsThoseWhoSeeIt) {
  at::manual_seed(48);
  const AttendCase c{1, 2, 2, 150, 150, 16, 24, at::kFloat, "contiguous", "causal"};
  for (const int64_t which : {1, 2}) {
    const auto t = test::make_additive_operands(c);
    AttendOptions options;
    options.causal = CausalAlignment::top_left;
    at::Tensor grad_out = at::randn({1, 2, 150, 24});
    const auto clean = test::additive_gradients(t, grad_out, options);
    const at::Tensor clean_out = test::run_additive(t, options);
    t[which].select(2, 100).select(2, 3).fill_(test::kNan);
    const auto got = test::additive_gradients(t, grad_out, options);
    const at::Tensor out = test::run_additive(t, options);
    EXPECT_TRUE(same_bits(out.slice(2, 0, 100), clean_out.slice(2, 0, 100)));
    EXPECT_TRUE(same_bits(got[0].slice(2, 0, 100), clean[0].slice(2, 0, 100)));
    EXPECT_FALSE(at::isfinite(out.slice(2, 100)).all(-1).any().item<bool>());
  }
}

TEST(AdditiveFused, AFullyHiddenRowGivesZeroAndNoGradient) {
  at::manual_seed(49);
  const AttendCase c{2, 1, 1, 40, 30, 8, 8, at::kFloat, "contiguous", "lengths"};
  auto t = test::make_additive_operands(c);
  AttendOptions options;
  options.functors = bind(Identity{}, KeyLengths(int_table(at::tensor({0, 30}, at::kInt))));
  t[0][0].fill_(test::kNan);
  EXPECT_EQ(largest(test::run_additive(t, options)[0]), 0.0);
  const auto got = test::additive_gradients(t, at::randn({2, 1, 40, 8}), options);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(largest(got[i][0]), 0.0) << i;
    EXPECT_GT(largest(got[i][1]), 0.0) << i;
  }
  EXPECT_TRUE(at::isfinite(got[3]).all().item<bool>());
}

}  // namespace
}  // namespace fovea
