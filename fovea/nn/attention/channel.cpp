#include "fovea/nn/attention/channel.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <limits>
#include <string>
#include <utility>

#include "fovea/nn/attention/key_counts.h"
#include "fovea/ops/hidden_keys.h"
#include "fovea/ops/operands.h"

namespace fovea::nn {
namespace {

// Energies are sums over all positions and lie far apart. Weights that are denormal numbers of float32 slow
// the products down tens of times; what is below e^-75 of a row's largest changes no sum, and becomes 0.
at::Tensor without_denormal_weights(const at::Tensor& energy) {
  constexpr double kFarBelow = 75.0;
  if (energy.scalar_type() != at::kFloat) return energy;
  const at::Tensor known = energy.detach();
  return energy.masked_fill(known < known.amax(-1, /*keepdim=*/true) - kFarBelow,
                            -std::numeric_limits<double>::infinity());
}

}  // namespace

ChannelAttention::ChannelAttention(AttentionKind kind, const AttentionShape& shape,
                                   const ChannelOptions& options)
    : Attention(std::move(kind), shape), score_(options.score) {
  if (shape.value_dim != shape.head_dim) {
    refuse("channels of values must be those of keys",
           std::to_string(shape.value_dim) + " and " + std::to_string(shape.head_dim),
           "Project them to one size.");
  }
}

AttentionOutput ChannelAttention::run(const AttentionInput& input) {
  // Sums over all positions want the precision that autocast would take from them.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const at::Tensor hidden = hidden_keys(mechanism(), input);
  const auto operand = [&](const at::Tensor& t) {
    return with_heads(without_keys(widened(t), hidden), input.q.size(1));
  };
  const at::Tensor energy = at::matmul(operand(input.q).transpose(2, 3), operand(input.k));
  // Adding the largest of a row changes no softmax.
  const at::Tensor weights =
      at::softmax(without_denormal_weights(score_ == ChannelScore::paper ? energy : -energy), -1);
  const at::Tensor values = operand(input.v).to(weights.scalar_type());
  return {at::matmul(values, weights.transpose(2, 3)).to(input.v.scalar_type()), {}, {}};
}

// Products, their negatives, weights.
AttentionCost ChannelAttention::cost(int64_t n, int64_t, int64_t d) const {
  return {2 * n * d * d, 3 * d * d * kFloatBytes};
}

AttentionEntry channel_attention() {
  return attention_entry<ChannelAttention>(
      {"channel", "out_nc = sum_j softmax_j(-E_cj) v_nj over channels, E = q^T k",
       "Fu et al. 2019, Dual attention network for scene segmentation, 3.3, and its code",
       "O(N D^2) time, O(D^2) memory", "composed"},
      {.causal_ok = false,
       .supports_cross = false,
       .takes_masks = false,
       .takes_biases = false,
       .gives_weights = false,
       .observes = false,
       .takes_packed = false},
      ChannelOptions{});
}

}  // namespace fovea::nn
