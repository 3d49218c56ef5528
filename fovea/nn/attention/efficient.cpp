#include "fovea/nn/attention/efficient.h"

#include <ATen/ops/softmax.h>

#include <limits>
#include <utility>

namespace fovea::nn {

EfficientAttention::EfficientAttention(AttentionKind kind, const AttentionShape& shape,
                                       const EfficientOptions&)
    : KernelMapAttention(std::move(kind), shape) {}

at::Tensor EfficientAttention::query_features(const at::Tensor& q) const { return at::softmax(q, -1); }

// Of hidden keys alone the least number gives means, where minus infinity would give NaN.
KeyFeatures EfficientAttention::key_features(const at::Tensor& k, const at::Tensor& hidden,
                                             const at::Tensor&) const {
  return {at::softmax(hidden.defined() ? k.masked_fill(hidden, std::numeric_limits<float>::lowest()) : k, 2),
          {}};
}

AttentionEntry efficient_entry(AttentionText text) {
  return attention_entry<EfficientAttention>(std::move(text),
                                             {.causal_ok = false,
                                              .takes_masks = false,
                                              .takes_biases = false,
                                              .takes_key_masks = true,
                                              .drops_weights = false,
                                              .observes = false,
                                              .takes_packed = false},
                                             EfficientOptions{});
}

AttentionEntry efficient_attention() {
  return efficient_entry(
      {"efficient", "out_i = softmax over channels(q_i) . sum_j softmax over positions(k)_j v_j^T",
       "Shen et al. 2021, Efficient attention, 3.2", "O((N + M) D^2) time, O((N + M) D) memory", "chunked"});
}

}  // namespace fovea::nn
