#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "fovea/explain/explainer.h"

namespace fovea::explain {

/// The attention weights of one image, layer by layer in the order of the forward pass.
struct AttentionRecord {
  std::vector<std::string> layers;  ///< dotted names of the attention modules
  std::vector<at::Tensor> weights;  ///< (H, N, N) each, rows sum to 1
  models::TokenGrid grid;           ///< N = prefix + rows columns
};

/// Runs the network on one image and keeps every attention layer's weights.   O(layers H N^2) memory.
/// Throws fovea::Error (usage) when it has no attention over the image's places, or layers of different token
/// counts (windows, pyramids), naming the methods that fit; `method` is the name in that message.
AttentionRecord record_attention(models::ImageNetwork& network, const at::Tensor& image,
                                 const std::string& method);

/// True when record_attention would succeed. One forward pass.
bool has_global_attention(models::ImageNetwork& network, const at::Tensor& image);

/// (H, N, M) -> (N, M): one head, or all joined by "mean" | "max" | "min"; after max and min each row is
/// scaled to sum 1 again.
at::Tensor fuse_heads(const at::Tensor& weights, int64_t head, const std::string& fusion);

/// What the head's input took from each patch: of the class token's row, or of the mean of the patches' rows
/// where the head reads their mean, the columns of the patches.   (N, N) -> (rows, columns)
at::Tensor token_map(const at::Tensor& weights, const models::TokenGrid& grid);

/// The number in `layers` of a layer given by number or dotted name (its attention module or the block around
/// it); empty = the last. Throws fovea::Error (usage) with the nearest name.
int64_t find_attention_layer(const AttentionRecord& record, const std::string& layer);

/// Raw attention of one layer: what the summary token attends to.   map = fuse(W_layer)[0, patches]
/// Fits networks whose self-attention joins all places. Self-check: rows sum to 1.
class RawAttention : public Explainer {
 public:
  explicit RawAttention(ExplainerOptions options) : options_(std::move(options)) {}
  std::string name() const override { return "attention"; }

 private:
  Attribution attribute(models::ImageNetwork& network, const at::Tensor& image,
                        int64_t target) const override;
  ExplainerOptions options_;
};

}  // namespace fovea::explain
