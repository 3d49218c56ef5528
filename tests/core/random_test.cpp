#include "fovea/core/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace fovea {
namespace {

// Known answers of the authors' library Random123 (kat_vectors, philox4x32 10 rounds).
TEST(Philox, EqualsTheKnownAnswers) {
  const std::array<uint32_t, 4> zero = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  EXPECT_EQ(philox(0, {0, 0, 0, 0}), zero);
  const std::array<uint32_t, 4> ones = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
  EXPECT_EQ(philox(~uint64_t{0}, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}), ones);
  const std::array<uint32_t, 4> pi = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
  EXPECT_EQ(philox(0x299f31d0a4093822, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}), pi);
}

TEST(Random, MomentsOfUniformAndNormal) {
  Random random(7);
  double sum = 0, square = 0, normal = 0, normal_square = 0;
  const int n = 200000;
  for (int i = 0; i < n; ++i) {
    const double u = random.uniform(), z = random.normal();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    square += u * u;
    normal += z;
    normal_square += z * z;
  }
  // Five standard errors of each estimate.
  EXPECT_NEAR(sum / n, 0.5, 5 * 0.2887 / std::sqrt(n));
  EXPECT_NEAR(square / n, 1.0 / 3, 5 * 0.2981 / std::sqrt(n));
  EXPECT_NEAR(normal / n, 0.0, 5 / std::sqrt(n));
  EXPECT_NEAR(normal_square / n, 1.0, 5 * std::sqrt(2.0 / n));
}

TEST(Random, StreamsAreApartAndRepeatable) {
  std::set<uint32_t> first;
  for (uint32_t stream = 0; stream < 100; ++stream) {
    for (uint64_t index = 0; index < 100; ++index) first.insert(Random(1, stream, index)());
  }
  EXPECT_GT(first.size(), 9990u);
  EXPECT_EQ(Random(3, 4, 5)(), Random(3, 4, 5)());
}

TEST(Random, PermutationHoldsEveryIndexOnce) {
  auto order = permutation(1000, Random(5));
  EXPECT_NE(order, permutation(1000, Random(6)));
  std::sort(order.begin(), order.end());
  for (int64_t i = 0; i < 1000; ++i) EXPECT_EQ(order[i], i);
}

}  // namespace
}  // namespace fovea
