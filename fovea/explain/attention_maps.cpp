#include "fovea/explain/attention_maps.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <charconv>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/explain/probe.h"
#include "fovea/nn/tap.h"

namespace fovea::explain {
namespace {

struct RawRecord {
  std::vector<const torch::nn::Module*> modules;
  std::vector<at::Tensor> weights;
};

RawRecord run_recorded(models::ImageNetwork& network, const at::Tensor& image) {
  RawRecord raw;
  const at::NoGradGuard no_grad;
  const nn::AttentionTapScope scope([&raw](const torch::nn::Module& module, const at::Tensor& weights) {
    raw.modules.push_back(&module);
    raw.weights.push_back(weights);
  });
  network.forward(image);
  return raw;
}

// Why the record cannot be read as attention among the image's tokens; empty when it can.
std::string why_unfit(const RawRecord& raw, const models::TokenGrid& grid) {
  if (raw.weights.empty()) return "it has no attention layer that shows its weights";
  const int64_t tokens = grid.prefix + grid.rows * grid.columns;
  if (grid.rows == 0) return "its layers hold maps, not tokens";
  for (const auto& w : raw.weights) {
    if (w.dim() == 4 && w.size(0) == 1 && w.size(2) == tokens && w.size(3) == tokens) continue;
    return fmt::format("an attention layer does not join all {} tokens of the image; its weights are ({})",
                       tokens, fmt::join(w.sizes(), ", "));
  }
  return {};
}

}  // namespace

AttentionRecord record_attention(models::ImageNetwork& network, const at::Tensor& image,
                                 const std::string& method) {
  const RawRecord raw = run_recorded(network, image);
  AttentionRecord record;
  record.grid = network.token_grid();
  const std::string why = why_unfit(raw, record.grid);
  if (!why.empty()) throw_unfit(method, why);
  for (size_t i = 0; i < raw.weights.size(); ++i) {
    record.layers.push_back(module_name(network, *raw.modules[i]));
    record.weights.push_back(raw.weights[i][0].to(at::kCPU, at::kFloat));
  }
  return record;
}

bool has_global_attention(models::ImageNetwork& network, const at::Tensor& image) {
  return why_unfit(run_recorded(network, image), network.token_grid()).empty();
}

at::Tensor fuse_heads(const at::Tensor& weights, int64_t head, const std::string& fusion) {
  if (head >= weights.size(0)) {
    throw usage_error("explain", fmt::format("the layer has {} heads, counted from 0; found head {}.",
                                             weights.size(0), head));
  }
  if (head >= 0) return weights[head];
  if (fusion == "mean") return weights.mean(0);
  const at::Tensor fused = fusion == "max" ? weights.amax(0) : weights.amin(0);
  return fused / fused.sum(-1, /*keepdim=*/true).clamp_min(1e-12);
}

at::Tensor token_map(const at::Tensor& weights, const models::TokenGrid& grid) {
  const at::Tensor row = grid.pooled ? weights.slice(0, grid.prefix).mean(0) : weights[0];
  return row.slice(0, grid.prefix).reshape({grid.rows, grid.columns});
}

int64_t find_attention_layer(const AttentionRecord& record, const std::string& layer) {
  const auto count = static_cast<int64_t>(record.layers.size());
  if (layer.empty()) return count - 1;
  int64_t number = 0;
  const auto [end, error] = std::from_chars(layer.data(), layer.data() + layer.size(), number);
  if (error == std::errc() && end == layer.data() + layer.size()) {
    if (number >= 0 && number < count) return number;
    throw usage_error("explain", fmt::format("the network has {} attention layers, counted from 0; found {}.",
                                             count, number));
  }
  for (int64_t i = 0; i < count; ++i) {
    if (record.layers[i] == layer || record.layers[i].starts_with(layer + ".")) return i;
  }
  throw usage_error(
      "explain", fmt::format("no attention layer is named so; found '{}'. {}", layer,
                             suggest_name(layer, record.layers, "The first is '" + record.layers[0] + "'.")));
}

Explainer::Attribution RawAttention::attribute(models::ImageNetwork& network, const at::Tensor& image,
                                               int64_t /*target*/) const {
  const AttentionRecord record = record_attention(network, image, name());
  const int64_t layer = find_attention_layer(record, options_.layer);
  const at::Tensor weights = fuse_heads(record.weights[layer], options_.head, options_.head_fusion);
  const double error = (weights.sum(-1) - 1).abs().max().item<double>();
  return {token_map(weights, record.grid), /*from_zero=*/false, record.layers[layer],
          SelfCheck{"each token's attention sums to 1", error, error < 1e-4}};
}

}  // namespace fovea::explain
