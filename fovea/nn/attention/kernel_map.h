#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "fovea/nn/attention/attention.h"
#include "fovea/ops/linear_attend.h"

namespace fovea::nn {

/// What a mechanism of features keeps of a sequence that grows; nothing of it is defined at the start.
struct LinearState {
  /// See linear_attend_step().
  at::Tensor sums;
  /// (B, Hkv, 1, 1): features of keys in `sums` are exp(log_scale) times as large; undefined where a
  /// mechanism leaves them as they are.
  at::Tensor log_scale;
};

/// phi(k) = exp(log_scale) map, see LinearState.
struct KeyFeatures {
  at::Tensor map, log_scale;
};

/// A mechanism whose weights are products of features, by linear_attend(): linear in N + M.
///   out_i = phi(q_i) . sum_j phi(k_j) v_j^T / phi(q_i) . sum_j phi(k_j)
/// Weights are of all pairs, O(B H N M), where they are asked for, and never dropped. Keys are hidden by
/// lengths or by a mask of keys.
class KernelMapAttention : public Attention {
 public:
  KernelMapAttention(AttentionKind kind, const AttentionShape& shape,
                     CausalAlignment causal = CausalAlignment::none);

  /// Causal order, T positions after those of `state`, which grows by them: q (B, H, T, D), k (B, Hkv, T, D),
  /// v (B, Hkv, T, Dv) -> (B, H, T, Dv). All steps together are the causal call. O(T R (D + Dv)) time of one
  /// head, whatever came before. Throws fovea::Error (usage) where the mechanism has no causal order, and as
  /// forward().
  at::Tensor step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, LinearState& state);

  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;
  CausalAlignment causal() const override { return causal_; }

 protected:
  AttentionOutput run(const AttentionInput& input) override;

  /// linear_attend() of the features of q and k; checked before.
  virtual LinearAttendResult attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const LinearAttendOptions& options) const;
  /// (B, H, N, D) -> (B, H, N, R), up to a factor of each query where weights are divided by their sum. Of
  /// float32 or float64.
  virtual at::Tensor query_features(const at::Tensor& q) const = 0;
  /// (B, Hkv, M, D) -> (B, Hkv, M, R). Keys where `hidden` (broadcastable to (B, Hkv, M, 1), may be
  /// undefined) is true are 0, what it makes of them is ignored. With a log_scale, that of before is the
  /// least.
  virtual KeyFeatures key_features(const at::Tensor& k, const at::Tensor& hidden,
                                   const at::Tensor& log_scale) const = 0;
  /// R, of keys of size d.
  virtual int64_t features(int64_t d) const = 0;
  /// Multiply-adds that the features of one key or query of size d take.
  virtual int64_t feature_products(int64_t) const { return 0; }
  /// Weights are divided by their sum.
  virtual bool normalised() const { return true; }

 private:
  CausalAlignment causal_;
};

}  // namespace fovea::nn
