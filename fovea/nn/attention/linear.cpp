#include "fovea/nn/attention/linear.h"

#include <utility>

#include "fovea/ops/elu_features.h"

namespace fovea::nn {

LinearAttention::LinearAttention(AttentionKind kind, const AttentionShape& shape,
                                 const LinearAttentionOptions& options)
    : KernelMapAttention(std::move(kind), shape, options.causal) {}

LinearAttendResult LinearAttention::attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                           const LinearAttendOptions& options) const {
  return linear_attend_elu(q, k, v, options);
}

at::Tensor LinearAttention::query_features(const at::Tensor& q) const { return elu_features(q); }

KeyFeatures LinearAttention::key_features(const at::Tensor& k, const at::Tensor&, const at::Tensor&) const {
  return {elu_features(k), {}};
}

AttentionEntry linear_attention() {
  return attention_entry<LinearAttention>(
      {"linear", "out_i = phi(q_i) sum_j phi(k_j)^T v_j / phi(q_i) . sum_j phi(k_j), phi = elu + 1",
       "Katharopoulos et al. 2020, Transformers are RNNs, 3.2",
       "O((N + M) D^2) time, O((N + M) D) memory, causal too; O(D^2) a step of decoding", "fused, chunked"},
      {.takes_masks = false,
       .takes_biases = false,
       .takes_key_masks = true,
       .drops_weights = false,
       .observes = false,
       .takes_packed = false},
      LinearAttentionOptions{});
}

}  // namespace fovea::nn
