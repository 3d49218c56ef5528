#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>

#include <cstdlib>
#include <utility>
#include <vector>

#include "fovea/ops/attend_fused.h"
#include "tests/ops/attend_cases.h"
#include "tests/ops/attend_gradients.h"
#include "tests/ops/expect_attend.h"
#include "tests/support/numbers.h"

namespace fovea {
namespace {

using test::AttendCase, test::Operands, test::Gradients, test::learned, test::norm_error, test::scaled;

Gradients gradients(const Operands& t, const at::Tensor& grad_out, const AttendOptions& options) {
  return test::evaluate(attend_fused, t, grad_out, options).gradients;
}

// A case with other operands or options.
void expect_right_for(const AttendCase& c, const Operands& t, const at::Tensor& grad_out,
                      const AttendOptions& options) {
  test::expect_right_gradients(gradients(t, grad_out, options),
                               test::evaluate_exactly(t, grad_out, options).gradients,
                               test::GradientTerms(t, grad_out, options).squares(), c);
}

void expect_right_backward(const AttendCase& c) {
  const Operands t = test::make_operands(c);
  const AttendOptions options = test::make_options(c);
  expect_right_for(c, t, test::make_operand({c.batch, c.heads, c.queries, c.value_dim}, c.type, c.layout),
                   options);
}

TEST(AttendBackward, EqualsTheDefinition) {
  at::manual_seed(21);
  test::for_each_case(test::random_cases(scaled(100), 29, test::fused_names()), expect_right_backward);
}

TEST(AttendBackward, EveryFunctorWithEveryLayout) {
  at::manual_seed(22);
  test::for_each_case(test::every_functor_with_every_layout(
                          test::fused_names(), {2, 2, 1, 290, 333, 24, 40, at::kFloat, "", ""},
                          {3, 4, 2, 130, 97, 40, 24, at::kBFloat16, "contiguous", ""}),
                      expect_right_backward);
}

TEST(AttendBackward, EveryFunctorOnFewPairs) {
  at::manual_seed(32);
  std::vector<AttendCase> cases;
  for (const auto& functors : test::fused_names()) {
    for (const auto& [queries, keys] : {std::pair(0, 48),
                                        {48, 0},
                                        {1, 48},
                                        {48, 1},
                                        {49, 128},
                                        {127, 33},
                                        {200, 256},
                                        {700, 650},
                                        {700, 60}}) {
      cases.push_back({2, 2, 2, queries, keys, 32, 48, at::kFloat, "padded", functors});
    }
  }
  test::for_each_case(cases, expect_right_backward);
}

TEST(AttendBackward, SimilaritiesAndRelativeKeys) {
  at::manual_seed(30);
  test::for_each_case(test::random_cases(scaled(50), 31, test::product_names()), expect_right_backward);
}

// With peaked scores bfloat16 gradients are right only if delta comes from the unrounded output.
TEST(AttendBackward, PeakedScores) {
  at::manual_seed(23);
  for (const double factor : {1.0, 3.0, 6.0}) {
    const AttendCase c{1, 4, 4, 1024, 1024, 64, 64, at::kBFloat16, "contiguous", "none"};
    Operands t = test::make_operands(c);
    t.q *= factor;
    t.k *= factor;
    expect_right_for(c, t, at::randn({1, 4, 1024, 64}).to(at::kBFloat16), {});
  }
}

TEST(AttendBackward, ScalesOfAnySign) {
  at::manual_seed(24);
  const AttendCase c{1, 2, 1, 70, 90, 16, 16, at::kFloat, "contiguous", "none"};
  for (const double scale : {-0.5, 0.0, 1.5}) {
    AttendOptions options;
    options.scale = scale;
    options.causal = CausalAlignment::top_left;
    expect_right_for(c, test::make_operands(c), at::randn({1, 2, 70, 16}), options);
  }
}

TEST(AttendBackward, ThroughLogSumExp) {
  at::manual_seed(29);
  const AttendCase c{2, 4, 2, 90, 77, 32, 24, at::kFloat, "contiguous", "window"};
  const Operands given = test::make_operands(c);
  AttendOptions options = test::make_options(c);
  options.lse = true;
  const at::Tensor grad_out = at::randn({2, 4, 90, 24}), grad_lse = at::randn({2, 4, 90});
  const auto run = [&](at::ScalarType type, bool with_out) {
    const Operands t = learned({given.q.to(type), given.k.to(type), given.v.to(type)});
    const auto result = (type == at::kDouble ? attend : attend_fused)(t.q, t.k, t.v, options);
    // Rows that see nothing have a log-sum-exp of -inf.
    at::Tensor loss = (result.lse.clamp_min(-1e30) * grad_lse.to(type)).sum();
    if (with_out) loss = loss + (result.out * grad_out.to(type)).sum();
    return torch::autograd::grad({loss}, {t.q, t.k, t.v}, {}, false, false, /*allow_unused=*/true);
  };
  for (const bool with_out : {true, false}) {
    const Gradients got = run(at::kFloat, with_out), exact = run(at::kDouble, with_out);
    for (size_t i = 0; i < 2; ++i) EXPECT_LE(norm_error(got[i], exact[i]), 3e-6) << i;
  }
}

// What such a row gives is the sink's alone.
TEST(AttendBackward, RowsWithoutAKeyUnderASink) {
  for (const int32_t offset : {-1000, -100}) {
    AttendOptions options;
    options.functors = bind(Identity{}, Causal(offset));
    const at::Tensor sinks = at::tensor({0.5f, -200.0f}).requires_grad_();
    options.normaliser = SoftmaxSink{sinks};
    options.lse = true;
    const Operands t = test::make_operands({1, 2, 2, 256, 256, 32, 32, at::kFloat, "padded", "none"});
    const at::Tensor lse = attend_fused(t.q, t.k, t.v, options).lse.slice(2, 0, std::min(-offset, 256));
    EXPECT_TRUE(at::allclose(lse, sinks.view({1, 2, 1}).expand_as(lse))) << offset;
    lse.sum().backward();
    EXPECT_TRUE(at::allclose(sinks.grad(), at::full({2}, static_cast<float>(lse.size(2))))) << offset;
  }
}

// Less sure of few keys than of many, as a mask may be.
struct BroadWindow : Mask {
  static constexpr bool kQuickCover = true;
  Window window{30, 30};

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    return window(at);
  }
  Cover cover(const TileRange& t) const { return t.k1 - t.k0 < 64 ? Cover::partial : window.cover(t); }
};

TEST(AttendBackward, AMaskThatIsLessSureOfFewKeys) {
  at::manual_seed(34);
  const AttendCase c{1, 1, 1, 1280, 1280, 16, 16, at::kFloat, "padded", "none"};
  AttendOptions options;
  options.functors = bind(Identity{}, BroadWindow());
  expect_right_for(c, test::make_operands(c), at::randn({1, 1, 1280, 16}), options);
}

TEST(AttendBackward, IsWhatAttendRuns) {
  const auto q = at::randn({1, 2, 140, 8}), k = at::randn({1, 2, 140, 8}),
             v = at::randn({1, 2, 140, 8}).requires_grad_();
  EXPECT_EQ(attend_choice(q, k, v).name, "fused");
  const auto out = attend(q, k, v).out;
  EXPECT_NE(out.grad_fn()->name().find("FusedAttention"), std::string::npos) << out.grad_fn()->name();
  out.sum().backward();
  EXPECT_TRUE(v.grad().defined());
  EXPECT_FALSE(q.grad().defined());
  const auto windows = [](const at::Tensor& t) { return t.slice(2, 0, 49).expand({32, 2, 49, 8}); };
  EXPECT_EQ(attend_choice(windows(q), windows(k), windows(v)).refusals[1],
            "fused: with gradients, the definition is faster for so many short sequences");
}

// A gradient of a gradient, as a penalty on it needs, comes from the definition.
TEST(AttendBackward, TwiceDifferentiable) {
  at::manual_seed(26);
  const Operands t = test::make_operands({1, 2, 1, 12, 15, 8, 8, at::kFloat, "contiguous", "alibi"});
  const auto penalty = [](const Operands& given) {
    const Operands x = learned(given);
    AttendOptions options;
    options.causal = CausalAlignment::top_left;
    const auto run = x.q.scalar_type() == at::kDouble ? attend : attend_fused;
    const auto first = torch::autograd::grad({run(x.q, x.k, x.v, options).out.square().sum()}, {x.q}, {},
                                             /*retain_graph=*/true, /*create_graph=*/true)[0];
    return torch::autograd::grad({first.square().sum()}, {x.q, x.k, x.v});
  };
  const auto got = penalty(t);
  const auto exact = penalty({t.q.to(at::kDouble), t.k.to(at::kDouble), t.v.to(at::kDouble)});
  for (size_t i = 0; i < 3; ++i) EXPECT_LE(norm_error(got[i], exact[i]), 1e-5);
}

TEST(AttendBackward, TheSameBitsOnAnyNumberOfThreads) {
  at::manual_seed(27);
  const int before = at::get_num_threads();
  const AttendCase c{2, 4, 2, 300, 300, 32, 32, at::kFloat, "BTHD", "sink_causal"};
  const Operands t = test::make_operands(c);
  const AttendOptions options = test::make_options(c);
  const at::Tensor grad_out = at::randn({2, 4, 300, 32});
  at::set_num_threads(1);
  const Gradients one = gradients(t, grad_out, options);
  for (const int threads : {2, 5}) {
    at::set_num_threads(threads);
    const Gradients more = gradients(t, grad_out, options);
    for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(at::equal(one[i], more[i])) << threads;
  }
  at::set_num_threads(before);
}

// The last key is seen by no query; the rest keep their gradients bit for bit, and its own are 0.
void expect_isolated(const AttendCase& c) {
  const Operands t = test::make_operands(c);
  const AttendOptions options = test::make_options(c);
  const at::Tensor grad_out = at::randn({c.batch, c.heads, c.queries, c.value_dim}).to(c.type);
  const Gradients clean = gradients(t, grad_out, options);
  for (const double poison : {test::kNan, test::kInfinity}) {
    for (const at::Tensor& spoilt : {t.k, t.v}) {
      const at::Tensor number = spoilt.select(2, c.queries).select(2, 3);
      const at::Tensor kept = number.clone();
      number.fill_(poison);
      const Gradients got = gradients(t, grad_out, options);
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_TRUE(at::equal(got[i], clean[i])) << c.name() << ' ' << poison << ' ' << i;
      }
      number.copy_(kept);
    }
  }
}

TEST(AttendBackward, WhatIsHiddenHasNoInfluence) {
  at::manual_seed(28);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const char* functors : {"causal", "sink_causal", "sigmoid_causal"}) {
      expect_isolated({1, 4, 2, 199, 200, 32, 32, type, "padded", functors});
      expect_isolated({1, 4, 4, 69, 70, 32, 32, type, "padded", functors});
    }
  }
  for (const char* functors : {"dilated", "segments"}) {  // few keys of many
    expect_isolated({1, 2, 2, 690, 700, 16, 16, at::kFloat, "padded", functors});
  }
}

// Under a causal order it reaches the values up to its query's own, and no other.
TEST(AttendBackward, AGradientThatIsNotFiniteReachesWhatItsQuerySees) {
  at::manual_seed(33);
  for (const int64_t length : {60, 200}) {
    const Operands t = test::make_operands({1, 2, 2, length, length, 32, 32, at::kFloat, "padded", "causal"});
    const AttendOptions options =
        test::make_options({1, 2, 2, length, length, 32, 32, at::kFloat, "padded", "causal"});
    const at::Tensor grad_out = at::randn({1, 2, length, 32});
    const at::Tensor clean = gradients(t, grad_out, options)[2];
    for (const double poison : {test::kNan, test::kInfinity}) {
      grad_out.select(2, 40).select(2, 7).fill_(poison);
      const at::Tensor got = gradients(t, grad_out, options)[2];
      EXPECT_TRUE(at::equal(got.slice(2, 41), clean.slice(2, 41))) << length;
      EXPECT_FALSE(at::isfinite(got.select(3, 7).slice(2, 0, 41)).any().item<bool>()) << length;
      EXPECT_TRUE(at::equal(got.slice(3, 8), clean.slice(3, 8))) << length;
    }
  }
}

TEST(AttendBackward, AFullyHiddenRowGivesNoGradient) {
  const AttendCase c{1,  2,  2,          40,           30,
                     16, 16, at::kFloat, "contiguous", "bottom_right"};  // the first 10 see none
  const Operands t = test::make_operands(c);
  const Gradients got = gradients(t, at::randn({1, 2, 40, 16}), test::make_options(c));
  EXPECT_EQ(got[0].slice(2, 0, 10).abs().max().item<float>(), 0.0f);
  EXPECT_TRUE(at::isfinite(got[1]).all().item<bool>());
}

}  // namespace
}  // namespace fovea
