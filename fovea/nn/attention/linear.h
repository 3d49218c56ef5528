#pragma once
#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"
#include "fovea/nn/attention/kernel_map.h"

namespace fovea::nn {

struct LinearAttentionOptions {
  CausalAlignment causal = CausalAlignment::none;

  template <class Visitor>
  static void fields(LinearAttentionOptions& o, Visitor&& visit) {
    visit_causal_order(o.causal, visit);
  }
};

/// Linear attention: features instead of a softmax.
///   phi(x) = elu(x) + 1 = x + 1 where x > 0, exp(x) elsewhere; R = D, no scale
/// O((N + M) D Dv) time, causal too, and step() in O(D Dv) for each position.
/// Source: Katharopoulos et al. 2020, Transformers are RNNs, 3.2, equation 7.
class LinearAttention : public KernelMapAttention {
 public:
  LinearAttention(AttentionKind kind, const AttentionShape& shape, const LinearAttentionOptions& options);

 protected:
  LinearAttendResult attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const LinearAttendOptions& options) const override;
  at::Tensor query_features(const at::Tensor& q) const override;
  KeyFeatures key_features(const at::Tensor& k, const at::Tensor& hidden,
                           const at::Tensor& log_scale) const override;
  int64_t features(int64_t d) const override { return d; }
};

AttentionEntry linear_attention();

}  // namespace fovea::nn
