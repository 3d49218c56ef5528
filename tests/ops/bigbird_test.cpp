#include "fovea/ops/bigbird.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "fovea/core/error.h"
#include "tests/ops/expect_scores.h"

namespace fovea {
namespace {

using test::Tensors;

// What is sure, and how many of the others are seen.
void expect_pattern(const BigBird& p, int64_t length, int64_t heads) {
  const AttendBlocks blocks = bigbird_blocks(length, heads, p);
  const int64_t n = (length + p.size - 1) / p.size;
  ASSERT_EQ(blocks.size, p.size);
  ASSERT_EQ(blocks.mask.sizes(), (std::vector<int64_t>{1, heads, n, n}));
  const auto seen = blocks.mask.accessor<bool, 4>();
  const auto is_global = [&](int64_t block) {
    return block < p.first_globals || block >= n - p.last_globals;
  };
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t row = 0; row < n; ++row) {
      int64_t others = 0, chosen = 0;
      for (int64_t column = 0; column < n; ++column) {
        const bool sure = is_global(row) || is_global(column) || std::abs(row - column) <= p.window / 2;
        if (sure) {
          ASSERT_TRUE(seen[0][h][row][column]) << row << ' ' << column;
        } else {
          ++others;
          chosen += seen[0][h][row][column];
        }
      }
      ASSERT_EQ(chosen, std::min(p.random, others)) << "row " << row;
    }
  }
}

TEST(BigBirdBlocks, WindowGlobalsAndSoManyOthers) {
  for (const int64_t length : {0, 1, 64, 65, 500, 4096}) expect_pattern({}, length, 3);
  for (const int64_t window : {1, 3, 7}) {
    for (const int64_t random : {0, 1, 5, 100}) {
      expect_pattern({.size = 16, .window = window, .first_globals = 2, .last_globals = 0, .random = random},
                     500, 2);
      expect_pattern({.size = 10, .window = window, .first_globals = 0, .last_globals = 3, .random = random},
                     333, 1);
    }
  }
}

TEST(BigBirdBlocks, AreAFunctionOfTheSeed) {
  const auto mask = [](uint64_t seed) { return bigbird_blocks(4096, 4, {.seed = seed}).mask; };
  EXPECT_TRUE(at::equal(mask(1), mask(1)));
  EXPECT_FALSE(at::equal(mask(1), mask(2)));
  EXPECT_FALSE(at::equal(mask(1).select(1, 0), mask(1).select(1, 1)));
  // A head's pattern does not depend on how many there are.
  EXPECT_TRUE(at::equal(mask(1).narrow(1, 0, 2), bigbird_blocks(4096, 2, {.seed = 1}).mask));
}

// Each of a row's other blocks is as likely: over many seeds a column is chosen `random / others` of the
// time.
TEST(BigBirdBlocks, OthersAreChosenEvenly) {
  const BigBird pattern{.size = 1, .window = 3, .first_globals = 1, .last_globals = 1, .random = 3};
  constexpr int64_t kSeeds = 2000, kBlocks = 20;
  at::Tensor counts = at::zeros({kBlocks}, at::kDouble);
  for (int64_t seed = 0; seed < kSeeds; ++seed) {
    BigBird p = pattern;
    p.seed = static_cast<uint64_t>(seed);
    counts += bigbird_blocks(kBlocks, 1, p).mask[0][0][10].to(at::kDouble);
  }
  const double share = 3.0 / (kBlocks - 5), spread = std::sqrt(share * (1 - share) / kSeeds);
  for (int64_t column = 0; column < kBlocks; ++column) {
    const bool sure = column == 0 || column == kBlocks - 1 || std::abs(column - 10) <= 1;
    const double found = counts[column].item<double>() / kSeeds;
    if (sure) {
      EXPECT_EQ(found, 1.0);
    } else {
      EXPECT_NEAR(found, share, 4.5 * spread) << column;
    }
  }
}

TEST(AttendBigBird, IsADenseMask) {
  at::manual_seed(121);
  const AttendBlocks blocks = bigbird_blocks(300, 4, {.size = 16, .random = 2, .seed = 5});
  const at::Tensor pairs =
      blocks.mask.repeat_interleave(16, 2).repeat_interleave(16, 3).narrow(2, 0, 300).narrow(3, 0, 300);
  test::expect_same(
      [&](const Tensors& t) {
        AttendOptions options;
        options.blocks = blocks;
        EXPECT_EQ(attend_choice(t[0], t[1], t[2], options).name, "fused");
        return attend(t[0], t[1], t[2], options).out;
      },
      [&](const Tensors& t) {
        return test::softmax_times(at::matmul(t[0], t[1].repeat_interleave(2, 1).transpose(2, 3)) / 4.0, t[2],
                                   pairs);
      },
      {at::randn({2, 4, 300, 16}), at::randn({2, 2, 300, 16}), at::randn({2, 2, 300, 8})}, 1e-5, "blocks");
}

TEST(BigBirdBlocks, RefuseWhatDoesNotFit) {
  EXPECT_THROW(bigbird_blocks(100, 1, {.size = 0}), Error);
  EXPECT_THROW(bigbird_blocks(100, 1, {.window = 2}), Error);
  EXPECT_THROW(bigbird_blocks(100, 1, {.random = -1}), Error);
  EXPECT_THROW(bigbird_blocks(100, 0), Error);
  EXPECT_THROW(bigbird_blocks(int64_t{1} << 40, 2), Error);
}

}  // namespace
}  // namespace fovea
