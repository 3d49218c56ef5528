#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace fovea::nn {

/// Buckets of rows (B, H, N, D) by angle: argmax of (x R, -x R) for the rotations R (H, D, rounds, buckets /
/// 2).
/// -> (B, H, rounds, N) int64, in 0 ... buckets - 1; the first among equals. No gradient; in float32 at
/// least. Source: Andoni et al. 2015, Practical and optimal LSH for angular distance; Reformer, section 2.
at::Tensor lsh_buckets(const at::Tensor& rows, const at::Tensor& rotations);

/// How rows that are sorted by bucket see each other.
struct LshLayout {
  int64_t buckets, chunk;
  /// Keys at or before the query alone.
  bool causal;
  /// Keys of any bucket.
  bool across;
};

/// Every round's order of one head of one batch entry is a sequence: S = B H rounds of them, each of N rows
/// rounded up to whole chunks, P, with its last chunk once more in front. Tables for BucketRuns.
struct LshOrder {
  /// (S, chunk + P) int64: rows of (B H N, D).
  at::Tensor rows;
  /// (S, chunk + P) int32
  at::Tensor codes, firsts, lasts;
  /// (B, H, N, rounds) int64: where each row stands in (S P).
  at::Tensor places;
};

/// Sorts by bucket, rows of one bucket by position; positions from lengths (B) on are hidden, and last.
/// `buckets` (B, H, rounds, N) and `lengths` int64 on the CPU.   O(B H rounds (N + buckets))
LshOrder lsh_order(const at::Tensor& buckets, const LshLayout& layout,
                   const std::optional<at::Tensor>& lengths);

}  // namespace fovea::nn
