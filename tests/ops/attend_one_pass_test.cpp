#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "fovea/ops/attend_fused.h"
#include "tests/ops/attend_cases.h"
#include "tests/ops/attend_gradients.h"
#include "tests/ops/expect_attend.h"
#include "tests/support/numbers.h"

// Where there are tile registers, scores of bfloat16 become weights, and gradients, before the whole of a row
// is known. Elsewhere these cases are as good as others.

namespace fovea {
namespace {

using test::AttendCase, test::Operands;

AttendCase plain(int64_t queries, int64_t keys, int64_t dim, int64_t value_dim) {
  return {1, 2, 2, queries, keys, dim, value_dim, at::kBFloat16, "contiguous", "none"};
}

// Operands whose scores are those of random ones plus `shift` (nats) for the keys from `first` on.
Operands shifted(const AttendCase& c, int64_t first, double shift) {
  const Operands t = test::make_operands(c);
  t.q.select(3, 0).fill_(std::sqrt(static_cast<double>(c.dim)));
  t.k.select(3, 0).fill_(0.0);
  t.k.slice(2, first).select(3, 0).fill_(shift);
  return t;
}

void expect_right(const AttendCase& c, const Operands& t) {
  const at::Tensor grad_out = test::make_operand({1, 2, c.queries, c.value_dim}, c.type, c.layout);
  const test::Evaluated got = test::evaluate(attend_fused, t, grad_out, {});
  EXPECT_LE(test::output_error(got.out, t, {}), test::tolerance(c.type)) << c.name();
  test::expect_right_gradients(got.gradients, test::evaluate_exactly(t, grad_out, {}).gradients,
                               test::GradientTerms(t, grad_out, {}).squares(), c);
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
  for (const int64_t queries : {1, 16, 17, 32, 48, 49, 255, 257}) {
    for (const int64_t keys : {1, 31, 33, 48, 129, 512, 513}) {
      const AttendCase c = plain(queries, keys, 32, 32);
      expect_right(c, test::make_operands(c));
    }
  }
}

// The first keys' scores say nothing of the others'.
TEST(AttendOnePass, ScoresFarAboveTheFirst) {
  at::manual_seed(53);
  for (const double shift : {10.0, 60.0, 200.0}) {
    for (const int64_t first : {1, 32, 40, 600}) {
      SCOPED_TRACE(std::to_string(shift) + " from key " + std::to_string(first));
      const AttendCase c = plain(70, 700, 64, 64);
      expect_right(c, shifted(c, first, shift));
    }
  }
}

TEST(AttendOnePass, ScoresFarBelowTheFirst) {
  at::manual_seed(54);
  for (const double shift : {-10.0, -60.0, -200.0}) {
    const AttendCase c = plain(70, 700, 64, 64);
    expect_right(c, shifted(c, 20, shift));
  }
}

// Scores of keys that only pad a tile are 0, and would outweigh these.
TEST(AttendOnePass, ScoresFarBelowThoseOfPadding) {
  at::manual_seed(55);
  for (const int64_t keys : {5, 33, 100, 520}) {
    const AttendCase c = plain(70, keys, 64, 64);
    expect_right(c, shifted(c, 0, -300.0));
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

}  // namespace
}  // namespace fovea
