#include "fovea/nn/attention/host.h"

#include "fovea/core/error.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/tap.h"

namespace fovea::nn {

std::shared_ptr<Attention> hosted_attention(const std::string& text, const AttentionShape& shape,
                                            const std::optional<GridPositions>& grid) {
  AttentionShape placed = shape;
  placed.grid = grid;
  const AttentionPlan plan = parse_attention(text);
  if (plan.entry->traits.needs_2d && !grid) {
    throw usage_error(plan.entry->name, "positions must lie in a grid of rows and columns",
                      "a network of sequences", "Choose another mechanism.");
  }
  auto attention = plan.build(placed);
  if (attention->block()) {
    throw usage_error(attention->mechanism(), "block needs a mask of blocks, which a network has not", text,
                      "Leave it out.");
  }
  return attention;
}

AttentionOutput run_tapped(const torch::nn::Module& host, Attention& attention, AttentionInput input) {
  const bool shown = attention_tapped() && attention.traits().gives_weights;
  input.call.weights = input.call.weights || shown;
  AttentionOutput result = attention.forward(input);
  if (shown) tap_attention(host, result.weights);
  return result;
}

}  // namespace fovea::nn
