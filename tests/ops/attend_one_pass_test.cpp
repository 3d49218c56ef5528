#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "fovea/core/isa.h"
#include "fovea/kernels/cpu/one_pass_softmax.h"
#include "fovea/ops/attend_fused.h"
#include "tests/ops/attend_cases.h"
#include "tests/ops/attend_gradients.h"
#include "tests/ops/expect_attend.h"
#include "tests/support/numbers.h"

// Scores become weights, and gradients, before the whole of a row is known: those of float32 everywhere,
// those of bfloat16 where there are tile registers. Elsewhere these cases are as good as others.

namespace fovea {
namespace {

using test::AttendCase, test::Operands;

constexpr at::ScalarType kTypes[] = {at::kBFloat16, at::kFloat};

AttendCase plain(int64_t queries, int64_t keys, int64_t dim, int64_t value_dim,
                 at::ScalarType type = at::kBFloat16) {
  return {1, 2, 2, queries, keys, dim, value_dim, type, "contiguous", "none"};
}

// The keys of some random operands from `first` on score `shift` (nats) more, and the others 0, beside what
// the random ones do. Added last, so that it is rounded once.
Operands shifted(const AttendCase& c, int64_t first, double shift) {
  const Operands t = test::make_operands(c);
  t.q.select(3, -1).fill_(std::sqrt(static_cast<double>(c.dim)));
  t.k.select(3, -1).fill_(0.0);
  t.k.slice(2, first).select(3, -1).fill_(shift);
  return t;
}

struct OnePassCall {
  AttendOptions options;
  double largest_score = 0.0;  // errs by 2^-23 of itself, where it is not of the size of a random one
};

void expect_right(const AttendCase& c, const Operands& t, const OnePassCall& call = {}) {
  const double of_scores = std::abs(call.largest_score) * 0x1p-23;
  const at::Tensor grad_out = test::make_operand({1, 2, c.queries, c.value_dim}, c.type, c.layout);
  const test::Evaluated got = test::evaluate(attend_fused, t, grad_out, call.options);
  EXPECT_LE(test::output_error(got.out, t, call.options), test::tolerance(c.type) + of_scores) << c.name();
  test::expect_right_gradients(got.gradients, test::evaluate_exactly(t, grad_out, call.options).gradients,
                               test::GradientTerms(t, grad_out, call.options).squares(), c, of_scores);
}

TEST(AttendOnePass, EveryHeadSizeBesideAnother) {
  at::manual_seed(51);
  for (const int64_t dim : {32, 64, 96, 128, 160, 224, 256}) {
    for (const int64_t value_dim : {8, 32, 40, 96, 256}) {
      const AttendCase c = plain(83, 545, dim, value_dim);
      expect_right(c, test::make_operands(c));
    }
  }
}

TEST(AttendOnePass, EveryLengthBesideAnother) {
  at::manual_seed(52);
  for (const auto type : kTypes) {
    for (const int64_t queries : {1, 6, 16, 17, 32, 48, 49, 255, 257}) {
      for (const int64_t keys : {1, 31, 33, 48, 129, 512, 513}) {
        const AttendCase c = plain(queries, keys, 32, 32, type);
        expect_right(c, test::make_operands(c));
      }
    }
  }
}

// Keys of `inside`, the others padding, in pairs of rows where they are bfloat16; queries of a head of 64.
template <class C>
void expect_taken(int64_t rows, int64_t columns, int64_t inside, double before) {
  SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns));
  const at::ScalarType type = c10::CppTypeToScalarType<C>::value;
  const at::Tensor q = at::randn({rows, 64}).to(type), k = at::randn({64, columns}).to(type);
  const at::Tensor packed =
      type == at::kFloat ? k : k.view({32, 2, columns}).transpose(1, 2).contiguous().view({64, columns});
  const at::Tensor weights = at::full({rows, columns}, 7.0, type), sum = at::full({rows}, 2.0f),
                   maximum = at::full({rows}, before), rescale = at::ones({rows});
  const auto height = static_cast<int32_t>(rows), width = static_cast<int32_t>(columns);
  ASSERT_TRUE(kernels::softmax_in_one_pass(
      kernels::ScoreProducts<C>{{q.const_data_ptr<C>(), packed.const_data_ptr<C>(), 64, 64, columns}, 0.2f},
      kernels::WeightBlock<C>{weights.mutable_data_ptr<C>(), columns, height, width,
                              static_cast<int32_t>(inside)},
      {maximum.mutable_data_ptr<float>(), sum.mutable_data_ptr<float>(), rescale.mutable_data_ptr<float>()}));
  const at::Tensor scores = at::matmul(q.to(at::kDouble), k.to(at::kDouble)) * 0.2f;
  const at::Tensor exact =
      at::exp2(scores - maximum.unsqueeze(1).to(at::kDouble)) * (at::arange(columns) < inside);
  const double tolerance = type == at::kFloat ? 4e-6 : 0x1p-8;
  EXPECT_LE(((weights.to(at::kDouble) - exact).abs() / exact.clamp_min(1e-30)).max().item<double>(),
            tolerance);
  EXPECT_TRUE(at::allclose(sum.to(at::kDouble), exact.sum(1) + 2.0, tolerance, 0.0));
}

// A block that it leaves to the online softmax is right too, and slow.
TEST(AttendOnePass, IsTaken) {
  at::manual_seed(65);
  for (const double before : {-test::kInfinity, 1.0}) {
    for (const int64_t columns : {32, 96, 512}) {
      for (const int64_t rows : {2, 4, 6, 8, 10, 16, 32, 256})
        expect_taken<float>(rows, columns, columns - 5, before);
      if (active_isa() < Isa::amx) continue;
      for (const int64_t rows : {16, 32, 48, 256})
        expect_taken<c10::BFloat16>(rows, columns, columns - 5, before);
    }
  }
}

// The first keys' scores say nothing of the others'.
TEST(AttendOnePass, ScoresFarAboveTheFirst) {
  at::manual_seed(53);
  for (const auto type : kTypes) {
    for (const double shift : {10.0, 20.0, 60.0, 200.0}) {
      for (const int64_t first : {1, 32, 40, 600}) {
        SCOPED_TRACE(std::to_string(shift) + " from key " + std::to_string(first));
        const AttendCase c = plain(70, 700, 64, 64, type);
        expect_right(c, shifted(c, first, shift), {.options = {}, .largest_score = shift});
      }
    }
  }
}

TEST(AttendOnePass, ScoresFarBelowTheFirst) {
  at::manual_seed(54);
  for (const auto type : kTypes) {
    for (const double shift : {-10.0, -60.0, -200.0}) {
      const AttendCase c = plain(70, 700, 64, 64, type);
      expect_right(c, shifted(c, 20, shift));
    }
  }
}

// Each block of keys scores more than all before, by just so much that the first reference serves for some.
TEST(AttendOnePass, ScoresThatRise) {
  at::manual_seed(58);
  for (const auto type : kTypes) {
    for (const double step : {8.0, 15.0, 40.0}) {
      const AttendCase c = plain(70, 2100, 64, 64, type);
      const Operands t = shifted(c, 0, 0.0);
      t.k.select(3, -1).copy_((at::arange(2100).div(400, "floor") * step));
      expect_right(c, t, {.options = {}, .largest_score = 5 * step});
    }
  }
}

// Rows beside each other begin, and go on, at scores of their own.
TEST(AttendOnePass, EachRowHasAReference) {
  at::manual_seed(59);
  for (const auto type : kTypes) {
    const AttendCase c = plain(83, 1100, 64, 64, type);
    const Operands t = shifted(c, 0, 20.0);
    t.q.select(3, -1).mul_(at::arange(83) % 7 - 3);
    expect_right(c, t, {.options = {}, .largest_score = 60.0});
    t.k.slice(2, 0, 700).select(3, -1).fill_(-5.0);
    expect_right(c, t, {.options = {}, .largest_score = 60.0});
  }
}

// Scores of keys that only pad a tile are 0, and would outweigh these.
TEST(AttendOnePass, ScoresFarBelowThoseOfPadding) {
  at::manual_seed(55);
  for (const auto type : kTypes) {
    for (const int64_t keys : {5, 33, 100, 520}) {
      const AttendCase c = plain(70, keys, 64, 64, type);
      expect_right(c, shifted(c, 0, -300.0), {.options = {}, .largest_score = 300.0});
    }
  }
}

// Scores of padding become -infinity, which must not meet a factor below or equal to 0.
TEST(AttendOnePass, ScalesOfAnySign) {
  at::manual_seed(60);
  for (const auto type : kTypes) {
    for (const double scale : {-0.3, 0.0, 1e-30, 0.3}) {
      for (const int64_t keys : {7, 129}) {
        const AttendCase c = plain(83, keys, 64, 64, type);
        AttendOptions options;
        options.scale = scale;
        expect_right(c, test::make_operands(c), {.options = options});
      }
    }
  }
}

// A difference of such scores is their products' rounding, unless these are rounded first.
TEST(AttendOnePass, HugeScores) {
  at::manual_seed(61);
  for (const auto type : kTypes) {
    for (const double size : {0x1p12, 0x1p17, 0x1p30}) {
      for (const double sign : {1.0, -1.0}) {
        const AttendCase c = plain(83, 545, 64, 64, type);
        const Operands t = test::make_operands(c);
        t.q.fill_(0.0).select(3, 9).fill_(size);
        t.k.fill_(0.0).select(3, 9).copy_(sign * size * (1 + at::arange(545) % 5 / 128.0));
        for (const auto causal : {CausalAlignment::none, CausalAlignment::bottom_right}) {
          AttendOptions options;
          options.causal = causal;
          EXPECT_LE(test::output_error(attend_fused(t.q, t.k, t.v, options).out, t, options),
                    test::tolerance(type))
              << sign * size;
        }
      }
    }
  }
}

// Weights above 1 must not take these past the largest number.
TEST(AttendOnePass, LargeValues) {
  at::manual_seed(62);
  for (const auto type : kTypes) {
    for (const double shift : {17.0, 21.0, 30.0, 60.0}) {
      const AttendCase c = plain(83, 1100, 64, 64, type);
      const Operands t = shifted(c, 100, shift);
      t.v.mul_(0x1p85);
      EXPECT_LE(test::output_error(attend_fused(t.q, t.k, t.v, {}).out, t, {}),
                test::tolerance(type) + shift * 0x1p-23)
          << shift;
    }
  }
}

// Values and gradients that are not finite are left out of the products, and must not be lost.
TEST(AttendOnePass, WhatIsSeenShows) {
  at::manual_seed(56);
  const AttendCase c = plain(83, 545, 64, 64);
  const Operands clean = test::make_operands(c);
  const at::Tensor grad_out = at::randn({1, 2, 83, 64}).to(c.type);
  const auto run = [](const Operands& t, const at::Tensor& g) {
    return test::evaluate(attend_fused, t, g, {});
  };
  const test::Evaluated before = run(clean, grad_out);
  const auto others = [](const at::Tensor& t) { return at::cat({t.narrow(3, 0, 3), t.narrow(3, 4, 60)}, 3); };
  for (const double poison : {test::kNan, test::kInfinity}) {
    Operands t = clean;
    t.v = clean.v.clone();
    t.v.select(2, 530).select(2, 3).fill_(poison);
    const at::Tensor out = run(t, grad_out).out;
    EXPECT_FALSE(at::isfinite(out.select(3, 3)).any().item<bool>());
    EXPECT_TRUE(test::same_bits(others(out), others(before.out)));

    at::Tensor spoilt = grad_out.clone();
    spoilt.select(2, 41).select(2, 3).fill_(poison);
    const at::Tensor grad_v = run(clean, spoilt).gradients[2];
    EXPECT_TRUE(at::allclose(grad_v.select(3, 3), at::full({1, 2, 545}, poison).to(c.type), 0, 0, true));
    EXPECT_LT(test::norm_error(others(grad_v), others(before.gradients[2])), 1e-2);
  }
}

// Its score is -infinity for every query, but those that only pad a tile would make NaN of it.
TEST(AttendOnePass, AnInfiniteKeyThatWeighsNothing) {
  at::manual_seed(57);
  const AttendCase c = plain(83, 70, 64, 64);
  const Operands t = test::make_operands(c);
  t.q.select(3, 0).fill_(-1.0);
  t.k.select(2, 9).fill_(0.0).select(2, 0).fill_(test::kInfinity);
  const at::Tensor grad_out = at::randn({1, 2, 83, 64}).to(c.type);
  const test::Evaluated got = test::evaluate(attend_fused, t, grad_out, {});
  AttendOptions without;
  without.mask = at::arange(70) != 9;
  EXPECT_LE(test::output_error(got.out, t, without), test::tolerance(c.type));
  for (const int of : {1, 2}) {
    EXPECT_EQ(got.gradients[of].select(2, 9).abs().max().item<double>(), 0.0) << of;
    EXPECT_TRUE(at::isfinite(got.gradients[of]).all().item<bool>()) << of;
  }
}

// A row whose first keys weigh nothing waits for others.
TEST(AttendOnePass, InfiniteKeysThatWeighNothingFirst) {
  at::manual_seed(63);
  for (const auto type : kTypes) {
    for (const int64_t first : {1, 16, 32, 64, 70, 512, 520}) {
      const AttendCase c = plain(83, 600, 64, 64, type);
      const Operands t = test::make_operands(c);
      t.q.select(3, 0).fill_(-1.0);
      t.k.slice(2, 0, first).fill_(0.0).select(3, 0).fill_(test::kInfinity);
      const at::Tensor grad_out = at::randn({1, 2, 83, 64}).to(c.type);
      const test::Evaluated got = test::evaluate(attend_fused, t, grad_out, {});
      AttendOptions without;
      without.mask = at::arange(600) >= first;
      EXPECT_LE(test::output_error(got.out, t, without), test::tolerance(c.type)) << first;
      for (const at::Tensor& gradient : got.gradients) EXPECT_TRUE(at::isfinite(gradient).all().item<bool>());
    }
  }
}

// The gradient of a weight may be out of range where the weight is 0.
TEST(AttendOnePass, WeightsOfZeroHaveNoGradient) {
  at::manual_seed(64);
  for (const auto type : kTypes) {
    const AttendCase c = plain(83, 545, 64, 64, type);
    const Operands t = shifted(c, 0, 0.0);
    t.k.select(2, 300).select(2, -1).fill_(-200.0);
    t.v.select(2, 300).fill_(1e30);
    at::Tensor grad_out = test::make_operand({1, 2, 83, 64}, type, "contiguous");
    grad_out.select(2, 40).select(2, 5).fill_(1e30);
    const test::Evaluated got = test::evaluate(attend_fused, t, grad_out, {});
    for (const at::Tensor& gradient : got.gradients) EXPECT_TRUE(at::isfinite(gradient).all().item<bool>());
    EXPECT_EQ(got.gradients[1].select(2, 300).abs().max().item<double>(), 0.0);
  }
}

}  // namespace
}  // namespace fovea
