#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

#include "fovea/ops/attend.h"

namespace fovea {

struct LinearAttendOptions {
  CausalAlignment causal = CausalAlignment::none;
  /// Boolean, true where a key may be seen, broadcastable to (B, 1, 1, M); to (B, H, 1, M) where each head
  /// has keys of its own.
  std::optional<at::Tensor> key_mask;
  /// (B), integers: batch entry b has key_lengths[b] keys, the rest is padding.
  std::optional<at::Tensor> key_lengths;
  /// Weights of a query are divided by their sum.
  bool normalised = true;
  /// Also return the weights, which takes O(B H N M).
  bool weights = false;
};

struct LinearAttendResult {
  /// (B, H, N, Dv)
  at::Tensor out;
  /// (B, H, N, M), where they were asked for.
  at::Tensor weights;
};

/// Attention whose weights are products of features.
///   out_i = sum_j a_ij v_j / sum_j a_ij,  a_ij = phi(q)_i . phi(k)_j over the keys that i may see
/// phi_q (B, H, N, R), phi_k (B, Hkv, M, R), v (B, Hkv, M, Dv), of one type; half types are computed in
/// float32. The sum is of any sign in theory: features are meant to be positive. A query whose weights sum to
/// 0, as one that may see no key, gives 0, with gradient 0; so does a sum below 1e-30 (float64: 1e-300). What
/// a query may not see has no influence on it, NaN and infinity included; one that sees a number that is not
/// finite gives NaN, and no gradient. Throws fovea::Error (usage) on shapes, types or options that do not
/// fit. O((N + M) R Dv) time of one head and memory O((N + M) (R + Dv)), in causal order too; with weights,
/// and for gradients of gradients of causal calls, O(N M (R + Dv)) and O(N M). Source: Katharopoulos et al.
/// 2020, Transformers are RNNs, 3.2 to 3.4; chunks: Hua et al. 2022, Transformer quality in linear time, 3.3.
LinearAttendResult linear_attend(const at::Tensor& phi_q, const at::Tensor& phi_k, const at::Tensor& v,
                                 const LinearAttendOptions& options = {});

/// The same of phi = elu_features(): linear_attend(elu_features(q), elu_features(k), v, options), which forms
/// features of a chunk at a time where its kernel runs. q (B, H, N, D), k (B, Hkv, M, D), v (B, Hkv, M, Dv).
LinearAttendResult linear_attend_elu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                     const LinearAttendOptions& options = {});

/// linear_attend() in causal order for T more positions of a sequence whose sums so far are `state`, sum_j
/// phi(k)_j [v_j, 1] or without the 1 where it is not normalised, (B, Hkv, R, Dv + 1 or Dv): they grow by
/// these positions. An undefined state is that of no position. O(T R Dv) time of one head, whatever came
/// before. Source: Katharopoulos et al. 2020, 3.4.
at::Tensor linear_attend_step(const at::Tensor& phi_q, const at::Tensor& phi_k, const at::Tensor& v,
                              at::Tensor& state, bool normalised = true);

/// Throws fovea::Error (usage), in the name of `where`, unless linear_attend() can take these.
void check_linear_attend(const at::Tensor& phi_q, const at::Tensor& phi_k, const at::Tensor& v,
                         const LinearAttendOptions& options, const char* where = "linear_attend");

/// True where key_mask or key_lengths hide a key of k: broadcastable to (B, Hkv, M, 1); undefined where
/// there is neither.
at::Tensor hidden_keys(const LinearAttendOptions& options, const at::Tensor& k);

/// Query i sees keys j <= i + shift.
int64_t causal_shift(CausalAlignment causal, int64_t queries, int64_t keys);

}  // namespace fovea
