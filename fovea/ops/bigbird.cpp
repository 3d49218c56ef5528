#include "fovea/ops/bigbird.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "fovea/core/ceil_div.h"
#include "fovea/core/error.h"
#include "fovea/core/random.h"

namespace fovea {
namespace {

void check_bigbird(int64_t length, int64_t heads, const BigBird& p) {
  const bool fits = length >= 0 && heads >= 1 && p.size >= 1 && p.window >= 1 && p.window % 2 == 1 &&
                    p.first_globals >= 0 && p.last_globals >= 0 && p.random >= 0;
  if (fits) return;
  throw usage_error("bigbird_blocks",
                    "sizes and heads must be at least 1, the window odd, and no number negative",
                    "length " + std::to_string(length) + ", heads " + std::to_string(heads) + ", size " +
                        std::to_string(p.size) + ", window " + std::to_string(p.window) + ", globals " +
                        std::to_string(p.first_globals) + " and " + std::to_string(p.last_globals) +
                        ", random " + std::to_string(p.random),
                    "Count in blocks.");
}

// Blocks of blocks are held, a byte each.
void check_pairs(int64_t count, int64_t heads) {
  constexpr int64_t kMostPairs = int64_t{1} << 32;
  if (count == 0 || count <= kMostPairs / heads / count) return;
  throw usage_error("bigbird_blocks", "there must be at most 2^32 pairs of blocks in all heads",
                    std::to_string(count) + " blocks, " + std::to_string(heads) + " heads",
                    "Choose larger blocks.");
}

// The row of a block that is not global: of `count` blocks, which it sees.
void fill_row(const BigBird& p, int64_t block, int64_t count, Random random, char* seen) {
  std::vector<int64_t> others;
  for (int64_t other = 0; other < count; ++other) {
    seen[other] =
        std::abs(other - block) <= p.window / 2 || other < p.first_globals || other >= count - p.last_globals;
    if (!seen[other]) others.push_back(other);
  }
  const auto left = static_cast<int64_t>(others.size());
  for (int64_t i = 0; i < std::min(p.random, left); ++i) {
    std::swap(others[i], others[i + static_cast<int64_t>(random.below(left - i))]);
    seen[others[i]] = true;
  }
}

}  // namespace

std::vector<char> bigbird_pairs(int64_t length, int64_t heads, const BigBird& pattern) {
  check_bigbird(length, heads, pattern);
  const int64_t count = ceil_div(length, pattern.size);
  check_pairs(count, heads);
  std::vector<char> pairs(heads * count * count);
  char* row = pairs.data();
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t block = 0; block < count; ++block, row += count) {
      if (block < pattern.first_globals || block >= count - pattern.last_globals) {
        std::fill(row, row + count, true);
      } else {
        fill_row(pattern, block, count, Random(pattern.seed, static_cast<uint32_t>(head), block), row);
      }
    }
  }
  return pairs;
}

AttendBlocks bigbird_blocks(int64_t length, int64_t heads, const BigBird& pattern) {
  const auto pairs = bigbird_pairs(length, heads, pattern);
  const int64_t count = ceil_div(length, pattern.size);
  const at::Tensor mask = at::zeros({1, heads, count, count}, at::kBool);
  std::copy(pairs.begin(), pairs.end(), mask.mutable_data_ptr<bool>());
  return {mask, pattern.size};
}

}  // namespace fovea
