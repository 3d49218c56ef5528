#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "fovea/ops/attend.h"

namespace fovea {

/// Blocks of so many queries and keys, both >= 1.
struct ObservedBlocks {
  int64_t queries, keys;
};

/// What is to be told of the weights P (B, H, N, M); nothing unless set.
struct AttendObservation {
  bool entropy = false, distance = false, argmax = false, received = false;
  /// In 1 ... M.
  std::optional<int64_t> top_k;
  std::optional<ObservedBlocks> blocks;
  /// Queries in [0, N), in any order, repeated or not.
  std::vector<int64_t> rows;
};

/// What was asked for, the rest undefined. Numbers are float32 (float64 of float64), keys int64.
struct AttendObserved {
  /// (B, H, N): -sum_j P_ij ln P_ij, in [0, ln M]. 0 where a query sees no key.
  at::Tensor entropy;
  /// (B, H, N): sum_j P_ij |i - j|, in positions. 0 where a query sees no key.
  at::Tensor distance;
  /// (B, H, N): the key of the largest weight, the first among equals; -1 where a query sees no key.
  at::Tensor argmax;
  /// (B, H, N, k): the k largest weights, falling, and their keys, the first among equals first. Weight 0 and
  /// key -1 where fewer keys have a weight above 0.
  at::Tensor top_weights, top_keys;
  /// (B, H, M): sum_i P_ij, what each key receives; all together N, less the queries that see no key.
  at::Tensor received;
  /// (B, H, ceil(N / queries), ceil(M / keys)): means of P over blocks; blocks at the edges are means of the
  /// pairs that exist.
  at::Tensor blocks;
  /// (B, H, R, M): the weights of `rows`, in their order.
  at::Tensor rows;
};

/// What attention attends to, in memory O(B H (N + M)) beside what is asked for: one pass over the scores.
/// P_ij = exp(score_ij - lse_i), 0 where query i may not see key j, before dropout.
/// q (B, H, N, D), k (B, Hkv, M, D) and options as attend() got them; lse (B, H, N) what it returned with
/// options.lse. The lse of attention over more keys than these gives the weights that these have among all. A
/// query whose lse is NaN or infinity gives NaN for what it sees, and no keys. No gradient; bits do not
/// depend on the number of threads. A weight errs by about 2^-23 (|score| + |lse|) of itself, of bfloat16
/// by 1.1e-4 more, which lse errs by. Where the fused kernel cannot run (float64, head sizes over 256, other
/// devices) the definition does, in O(B H N M) memory. Throws fovea::Error (usage) as attend(), on an lse of
/// another shape, type or device, and on numbers of `wanted` out of range. O(B H N M D) time, a head a
/// thread.
AttendObserved observe_attend(const at::Tensor& q, const at::Tensor& k, const AttendOptions& options,
                              const at::Tensor& lse, const AttendObservation& wanted);

/// attend(), and what it attends to.
struct ObservedAttend {
  AttendResult result;
  AttendObserved observed;
};

/// attend() followed by observe_attend(). Gradients reach the result as in attend(). Errors as both.
ObservedAttend attend_observed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttendOptions& options, const AttendObservation& wanted);

}  // namespace fovea
