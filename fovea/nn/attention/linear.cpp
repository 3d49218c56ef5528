#include "fovea/nn/attention/linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/relu.h>

#include <utility>

namespace fovea::nn {
namespace {

// elu(x) + 1, whose small values have all their digits: 1 is not taken away and added again.
at::Tensor elu_plus_one(const at::Tensor& x) { return at::clamp_max(x, 0.0).exp_() + at::relu(x); }

}  // namespace

LinearAttention::LinearAttention(AttentionKind kind, const AttentionShape& shape,
                                 const LinearAttentionOptions& options)
    : KernelMapAttention(std::move(kind), shape, options.causal) {}

at::Tensor LinearAttention::query_features(const at::Tensor& q) const { return elu_plus_one(q); }

KeyFeatures LinearAttention::key_features(const at::Tensor& k, const at::Tensor&, const at::Tensor&) const {
  return {elu_plus_one(k), {}};
}

AttentionEntry linear_attention() {
  return attention_entry<LinearAttention>(
      {"linear", "out_i = phi(q_i) sum_j phi(k_j)^T v_j / phi(q_i) . sum_j phi(k_j), phi = elu + 1",
       "Katharopoulos et al. 2020, Transformers are RNNs, 3.2",
       "O((N + M) D^2) time, O((N + M) D) memory, causal too; O(D^2) a step of decoding", "chunked"},
      {.takes_masks = false,
       .takes_biases = false,
       .takes_key_masks = true,
       .observes = false,
       .takes_packed = false},
      LinearAttentionOptions{});
}

}  // namespace fovea::nn
