#include "fovea/mods/simd.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fovea/core/isa.h"
#include "fovea/core/random.h"
#include "fovea/mods/table.h"

namespace fovea::simd {
namespace {

template <class Lanes>
class Simd : public testing::Test {
 protected:
  static constexpr int N = Lanes::value;

  void SetUp() override {
    const Isa needed = N == 4 ? Isa::baseline : N == 8 ? Isa::avx2 : Isa::avx512;
    if (detected_isa() < needed) GTEST_SKIP() << "this CPU has no " << isa_name(needed);
  }

  Floats<N> floats(double low, double high) {
    Floats<N> v;
    for (float& x : v.x) x = static_cast<float>(random_.uniform(low, high));
    return v;
  }
  Ints<N> ints(int low, int high) {
    Ints<N> v;
    for (int32_t& x : v.x) x = low + static_cast<int32_t>(random_.below(high - low));
    return v;
  }

  Random random_{7};
};
using Widths = testing::Types<std::integral_constant<int, 4>, std::integral_constant<int, 8>,
                              std::integral_constant<int, 16>>;
TYPED_TEST_SUITE(Simd, Widths);

TYPED_TEST(Simd, FloatsAreTheirLanes) {
  constexpr int N = TypeParam::value;
  const auto a = this->floats(-3, 3), b = this->floats(-3, 3);
  const auto sum = a + b, difference = a - 2.0f, product = 2.0f * a, quotient = a / b, negative = -a;
  const auto least = min(a, b), greatest = max(a, b), magnitude = abs(a), chosen = select(a < b, a, b);
  for (int i = 0; i < N; ++i) {
    EXPECT_EQ(sum.x[i], a.x[i] + b.x[i]);
    EXPECT_EQ(difference.x[i], a.x[i] - 2.0f);
    EXPECT_EQ(product.x[i], 2.0f * a.x[i]);
    EXPECT_EQ(quotient.x[i], a.x[i] / b.x[i]);
    EXPECT_EQ(negative.x[i], -a.x[i]);
    EXPECT_EQ(least.x[i], std::min(a.x[i], b.x[i]));
    EXPECT_EQ(greatest.x[i], std::max(a.x[i], b.x[i]));
    EXPECT_EQ(magnitude.x[i], std::abs(a.x[i]));
    EXPECT_EQ(chosen.x[i], std::min(a.x[i], b.x[i]));
  }
}

TYPED_TEST(Simd, IntsAreTheirLanes) {
  constexpr int N = TypeParam::value;
  const auto a = this->ints(-9, 9), b = this->ints(1, 9);
  const auto sum = a + b, difference = 5 - a, product = a * b, rest = a % 4, magnitude = abs(a);
  const auto numbers = to_float(a);
  const auto less = a < b, equal = a == 3, both = (a <= b) & (a > -4), either = (a >= b) | (a < -4),
             none = !(a == a), off = (a < b) == false, kept = (a < b) & true;
  for (int i = 0; i < N; ++i) {
    EXPECT_EQ(sum.x[i], a.x[i] + b.x[i]);
    EXPECT_EQ(difference.x[i], 5 - a.x[i]);
    EXPECT_EQ(product.x[i], a.x[i] * b.x[i]);
    EXPECT_EQ(rest.x[i], a.x[i] % 4);
    EXPECT_EQ(magnitude.x[i], std::abs(a.x[i]));
    EXPECT_EQ(numbers.x[i], static_cast<float>(a.x[i]));
    EXPECT_EQ(less.x[i], a.x[i] < b.x[i] ? -1 : 0);
    EXPECT_EQ(equal.x[i], a.x[i] == 3 ? -1 : 0);
    EXPECT_EQ(both.x[i], a.x[i] <= b.x[i] && a.x[i] > -4 ? -1 : 0);
    EXPECT_EQ(either.x[i], a.x[i] >= b.x[i] || a.x[i] < -4 ? -1 : 0);
    EXPECT_EQ(none.x[i], 0);
    EXPECT_EQ(off.x[i], a.x[i] < b.x[i] ? 0 : -1);
    EXPECT_EQ(kept.x[i], less.x[i]);
  }
}

TYPED_TEST(Simd, ExpIsRightTo2e7OnItsWholeRange) {
  constexpr int N = TypeParam::value;
  double worst = 0;
  for (int step = 0; step < 20000; ++step) {
    const auto x = this->floats(-87.3, 88.3);
    const auto y = exp(x);
    for (int i = 0; i < N; ++i) {
      const double exact = std::exp(static_cast<double>(x.x[i]));
      worst = std::max(worst, std::abs(y.x[i] - exact) / exact);
    }
  }
  EXPECT_LT(worst, 2e-7);
}

TYPED_TEST(Simd, TanhIsRightTo3e7OnItsWholeRange) {
  constexpr int N = TypeParam::value;
  double worst = 0;
  for (const float most : {1e-30f, 1e-3f, 0.7f, 2.0f, 12.0f, 1e30f}) {
    for (int step = 0; step < 5000; ++step) {
      const auto x = this->floats(-most, most);
      const auto y = tanh(x);
      for (int i = 0; i < N; ++i) {
        const double exact = std::tanh(static_cast<double>(x.x[i]));
        worst = std::max(worst, std::abs(y.x[i] - exact) / std::abs(exact));
      }
    }
  }
  EXPECT_LT(worst, 3e-7);
}

TYPED_TEST(Simd, LogIsRightTo2e7OnItsWholeRange) {
  constexpr int N = TypeParam::value;
  double worst = 0;
  for (const float most : {1e-37f, 1e-3f, 0.7f, 1.0f, 1.5f, 12.0f, 3e38f}) {
    for (int step = 0; step < 5000; ++step) {
      const auto x = this->floats(most / 4, most);
      const auto y = log(x);
      for (int i = 0; i < N; ++i) {
        const double exact = std::log(static_cast<double>(x.x[i]));
        worst = std::max(worst, std::abs(y.x[i] - exact) / std::abs(exact));
      }
    }
  }
  EXPECT_LT(worst, 2e-7);
}

TYPED_TEST(Simd, LogAtTheEdges) {
  constexpr int N = TypeParam::value;
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const auto at = [](float x) { return log(broadcast(x, Floats<N>{})).x[N - 1]; };
  EXPECT_EQ(at(0.0f), -infinity);
  EXPECT_EQ(at(1e-40f), -infinity);
  EXPECT_EQ(at(1.0f), 0.0f);
  EXPECT_EQ(at(infinity), infinity);
  EXPECT_TRUE(std::isnan(at(-1.0f)));
  EXPECT_TRUE(std::isnan(at(std::numeric_limits<float>::quiet_NaN())));
}

TYPED_TEST(Simd, TanhAtTheEdges) {
  constexpr int N = TypeParam::value;
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const auto at = [](float x) { return tanh(broadcast(x, Floats<N>{})).x[N - 1]; };
  EXPECT_EQ(at(-infinity), -1.0f);
  EXPECT_EQ(at(infinity), 1.0f);
  EXPECT_EQ(at(0.0f), 0.0f);
  EXPECT_TRUE(std::isnan(at(std::numeric_limits<float>::quiet_NaN())));
}

TYPED_TEST(Simd, ExpAtTheEdges) {
  constexpr int N = TypeParam::value;
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const auto at = [](float x) { return exp(broadcast(x, Floats<N>{})).x[N - 1]; };
  EXPECT_EQ(at(-infinity), 0.0f);
  EXPECT_EQ(at(-90.0f), 0.0f);
  EXPECT_EQ(at(0.0f), 1.0f);
  EXPECT_EQ(at(infinity), infinity);
  EXPECT_EQ(at(89.0f), infinity);
  EXPECT_TRUE(std::isnan(at(std::numeric_limits<float>::quiet_NaN())));
}

TYPED_TEST(Simd, GatherStaysInsideItsTable) {
  constexpr int N = TypeParam::value;
  const float values[] = {10, 11, 12};
  const Table<float> table{values, 3, nullptr};
  Ints<N> index;
  for (int i = 0; i < N; ++i) index.x[i] = i - 1;
  const auto got = load(table, index);
  for (int i = 0; i < N; ++i) EXPECT_EQ(got.x[i], i >= 1 && i <= 3 ? values[i - 1] : 10.0f) << i;
}

}  // namespace
}  // namespace fovea::simd
