#pragma once
#include <cstdint>
#include <vector>

#include "fovea/ops/attend.h"

namespace fovea {

/// Which blocks of positions see each other, counted in blocks.
struct BigBird {
  /// Positions of a block.
  int64_t size = 64;
  /// Odd: a block sees itself and window / 2 blocks on either side.
  int64_t window = 3;
  /// So many blocks at the start and at the end see all and are seen by all.
  int64_t first_globals = 1, last_globals = 1;
  /// So many others, chosen at random for each block and head, or all where there are not so many.
  int64_t random = 3;
  uint64_t seed = 0;
};

/// Which blocks see which: heads x n x n, row by row, n = ceil(length / size). A function of the numbers
/// given alone, whatever the machine. Throws fovea::Error (usage) on sizes below 1, an even window and
/// negative numbers. O(heads n^2). Source: BigBird (Zaheer et al. 2020), section 2 and appendix D.
std::vector<char> bigbird_pairs(int64_t length, int64_t heads, const BigBird& pattern = {});

/// The same as AttendOptions::blocks, for `length` queries and keys: mask (1, heads, n, n).
AttendBlocks bigbird_blocks(int64_t length, int64_t heads, const BigBird& pattern = {});

}  // namespace fovea
