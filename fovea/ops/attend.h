#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace fovea {

class AttendFunctors;

/// Which pairs an attention call lets see each other, and how scores are scaled.
struct AttendOptions {
  /// Factor on q.k; 1 / sqrt(D) when empty.
  std::optional<double> scale;
  /// Query i sees keys j <= i (top-left aligned).
  bool causal = false;
  /// Boolean, broadcastable to (B, H, N, M): true = may attend.
  std::optional<at::Tensor> mask;
  /// Score and mask functors, made by bind() of ops/attend_functors.h; they join the other options.
  std::shared_ptr<const AttendFunctors> functors;
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

/// Attention: a weighted sum of values.   out = softmax(mask(bias + score(scale q k^T))) v
/// q (B, H, N, D), k (B, Hkv, M, D), v (B, Hkv, M, Dv) -> out (B, H, N, Dv); H a multiple of Hkv (grouped
/// queries). A query that may see no key gives 0, with gradient 0; a key that a query may not see has no
/// influence on it, NaN and infinity included. Runs the first implementation that can, see attend_choice().
/// Throws fovea::Error (usage) on shapes, types or a scale that do not fit.   O(B H N M (D + Dv)) time; fused
/// O(B Hkv M (D + Dv)) memory, otherwise O(B H N M). Source: Vaswani et al. 2017, Attention is all you need,
/// 3.2.1.
AttendResult attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const AttendOptions& options = {});

/// Which implementation attend() runs, and why those before it cannot.
struct AttendChoice {
  std::string name;  ///< fused or composed
  /// "fused: a gradient is wanted"
  std::vector<std::string> refusals;
};

/// The choice of attend() for these arguments. With FOVEA_VERBOSE=dispatch in the environment attend() itself
/// writes it to stderr, a line a call. Errors as attend().
AttendChoice attend_choice(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttendOptions& options = {});

}  // namespace fovea
