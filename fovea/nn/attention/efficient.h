#pragma once
#include "fovea/nn/attention/entry.h"
#include "fovea/nn/attention/kernel_map.h"

namespace fovea::nn {

struct EfficientOptions {
  template <class Visitor>
  static void fields(EfficientOptions&, Visitor&&) {}
};

/// Efficient attention: two softmaxes instead of one over pairs.
///   out_i = softmax over channels(q_i) . sum_j softmax over positions(k)_j v_j^T
/// Each channel of the keys is a map over all positions, which a query mixes; the weights of a query sum
/// to 1. No scale, no causal order, as every position has its part in each key. O((N + M) D Dv) time. Source:
/// Shen et al. 2021, Efficient attention: attention with linear complexities, 3.2 and 3.3.
class EfficientAttention : public KernelMapAttention {
 public:
  EfficientAttention(AttentionKind kind, const AttentionShape& shape, const EfficientOptions& options);

 protected:
  at::Tensor query_features(const at::Tensor& q) const override;
  KeyFeatures key_features(const at::Tensor& k, const at::Tensor& hidden,
                           const at::Tensor& log_scale) const override;
  int64_t features(int64_t d) const override { return d; }
  bool normalised() const override { return false; }
};

/// The row of what computes so, under the name and source of `text`.
AttentionEntry efficient_entry(AttentionText text);

AttentionEntry efficient_attention();

}  // namespace fovea::nn
