#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace fovea {

/// Which pairs an attention call lets see each other, and how scores are scaled.
struct AttendOptions {
  /// Factor on q.k; 1 / sqrt(D) when empty.
  std::optional<double> scale;
  /// Query i sees keys j <= i (top-left aligned).
  bool causal = false;
  /// Boolean, broadcastable to (B, H, N, M): true = may attend.
  std::optional<at::Tensor> mask;
  /// Added to the scores, broadcastable to (B, H, N, M).
  std::optional<at::Tensor> bias;
  /// Probability that a weight is dropped (and the rest scaled by 1 / (1 - p)), in [0, 1).
  double dropout_p = 0.0;
  /// Also return the weights.
  bool weights = false;
};

struct AttendResult {
  at::Tensor out;
  /// (B, H, N, M), after dropout; undefined unless asked for.
  at::Tensor weights;
};

/// Attention: a weighted sum of values.   out = softmax(mask(bias + scale q k^T)) v
/// q (B, H, N, D), k (B, Hkv, M, D), v (B, Hkv, M, Dv) -> out (B, H, N, Dv); H a multiple of Hkv (grouped
/// queries). A query that may see no key gives 0, with gradient 0. Throws fovea::Error (usage) on shapes or
/// types that do not fit.   O(B H N M (D + Dv)) time, O(B H N M) memory. Source: Vaswani et al. 2017,
/// Attention is all you need, 3.2.1.
AttendResult attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const AttendOptions& options = {});

}  // namespace fovea
