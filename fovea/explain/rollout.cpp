#include "fovea/explain/rollout.h"

#include <ATen/ATen.h>

#include "fovea/core/error.h"

namespace fovea::explain {
namespace {

// The smallest `ratio` of the weights becomes 0.
at::Tensor discard_smallest(const at::Tensor& weights, double ratio, int64_t prefix) {
  const auto count = static_cast<int64_t>(static_cast<double>(weights.numel()) * ratio);
  if (count == 0) return weights;
  const at::Tensor order = std::get<1>(weights.flatten().topk(count, 0, /*largest=*/false));
  at::Tensor kept = weights.flatten().clone();
  kept.index_fill_(0, order, 0);
  kept = kept.view_as(weights);
  if (prefix > 0) kept.select(1, 0).copy_(weights.select(1, 0));
  return kept;
}

}  // namespace

at::Tensor rollout_matrix(const std::vector<at::Tensor>& weights, const ExplainerOptions& options,
                          int64_t prefix) {
  if (weights.empty())
    throw usage_error("rollout", "there must be a layer of attention weights; found none.");
  at::Tensor rolled;
  for (const auto& layer : weights) {
    at::Tensor fused = fuse_heads(layer, options.head, options.head_fusion).to(at::kDouble);
    fused = discard_smallest(fused, options.discard_ratio, prefix);
    at::Tensor mixed = 0.5 * fused + 0.5 * at::eye(fused.size(0), fused.options());
    mixed = mixed / mixed.sum(-1, /*keepdim=*/true);
    rolled = rolled.defined() ? at::matmul(mixed, rolled) : mixed;
  }
  return rolled;
}

Explainer::Attribution Rollout::attribute(models::ImageNetwork& network, const at::Tensor& image,
                                          int64_t /*target*/) const {
  AttentionRecord record = record_attention(network, image, name());
  const int64_t last = find_attention_layer(record, options_.layer);
  record.weights.resize(last + 1);
  const at::Tensor rolled = rollout_matrix(record.weights, options_, record.grid.prefix);
  const double error = (rolled.sum(-1) - 1).abs().max().item<double>();
  return {token_map(rolled, record.grid), /*from_zero=*/false, record.layers[last],
          SelfCheck{"shares of the input sum to 1", error, error < 1e-6}};
}

}  // namespace fovea::explain
