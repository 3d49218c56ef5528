#include "fovea/nn/attention/efficient.h"

#include <ATen/ops/softmax.h>

#include <limits>

#include "fovea/nn/attention/kernel_map.h"

namespace fovea::nn {
namespace {

struct EfficientOptions {
  template <class Visitor>
  static void fields(EfficientOptions&, Visitor&&) {}
};

class EfficientAttention : public KernelMapAttention {
 public:
  EfficientAttention(AttentionKind kind, const AttentionShape& shape, const EfficientOptions&)
      : KernelMapAttention(std::move(kind), shape) {}

 protected:
  at::Tensor query_features(const at::Tensor& q) const override { return at::softmax(q, -1); }
  // Of hidden keys alone the least number gives means, where minus infinity would give NaN.
  KeyFeatures key_features(const at::Tensor& k, const at::Tensor& hidden, const at::Tensor&) const override {
    return {
        at::softmax(hidden.defined() ? k.masked_fill(hidden, std::numeric_limits<float>::lowest()) : k, 2),
        {}};
  }
  int64_t features(int64_t d) const override { return d; }
  bool normalised() const override { return false; }
};

}  // namespace

AttentionEntry efficient_attention() {
  return attention_entry<EfficientAttention>(
      {"efficient", "out_i = softmax over channels(q_i) . sum_j softmax over positions(k)_j v_j^T",
       "Shen et al. 2021, Efficient attention, 3.2", "O((N + M) D^2) time, O((N + M) D) memory", "chunked"},
      {.causal_ok = false,
       .takes_masks = false,
       .takes_biases = false,
       .takes_key_masks = true,
       .observes = false,
       .takes_packed = false},
      EfficientOptions{});
}

}  // namespace fovea::nn
