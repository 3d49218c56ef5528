#pragma once
#include <cstdint>
#include <span>

#include "fovea/kernels/attend_args.h"

namespace fovea::kernels {

/// The `count` largest weights of each query, (B, H, N, count): falling, the lowest key first among equals.
/// Where fewer keys have a weight above 0, weight 0 and key -1.
struct TopArgs {
  int64_t count = 0;
  float* weights = nullptr;
  int64_t* keys = nullptr;
};

/// Means over blocks of `queries` x `keys` pairs, (B, H, ceil(N / queries), ceil(M / keys)); those at the
/// edges are means of the pairs that exist. Given as zeros.
struct BlockMeanArgs {
  int64_t queries = 0, keys = 0;
  float* means = nullptr;
};

/// The weights of some queries, (B, H, rows.size(), M). Given as zeros.
struct RowArgs {
  std::span<const int64_t> rows;
  float* weights = nullptr;
};

/// Results are contiguous; those that are null are not asked for.
struct ObserveArgs {
  /// value_dim is 0.
  AttendSizes n;
  Type type;
  Operand q, k;
  /// Natural log-sum-exp of each row of scores, (B, H, N) contiguous, as attend_forward() gives it.
  const float* lse;
  float scale;
  TilePrograms programs;

  /// (B, H, N): -sum_j P_ij ln P_ij, sum_j P_ij |i - j|, and the key of the largest weight or -1.
  float* entropy = nullptr;
  float* distance = nullptr;
  int64_t* argmax = nullptr;
  TopArgs top;
  /// (B, H, M): sum_i P_ij.
  float* received = nullptr;
  BlockMeanArgs blocks;
  RowArgs rows;
};

/// What the weights P = exp(score - lse) of attend_forward(), before dropout, say of queries and keys: one
/// pass over the scores, tile by tile. Deterministic, whatever the number of threads: a head is one task. A
/// query whose lse is -inf has no weights; one whose lse is NaN or +inf gives NaN, and no keys. O(B H N M D)
/// time and O(B Hkv M D) memory beside the results; keeping the `count` largest adds O(B H N count^2 log(M /
/// count)) where the keys' order is random. Throws std::bad_alloc.
void attend_observe(const ObserveArgs& args);

}  // namespace fovea::kernels
