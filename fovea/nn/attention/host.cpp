#include "fovea/nn/attention/host.h"

#include "fovea/core/error.h"
#include "fovea/nn/attention/registry.h"

namespace fovea::nn {

std::shared_ptr<Attention> hosted_attention(const std::string& text, const AttentionShape& shape,
                                            const std::optional<GridPositions>& grid) {
  AttentionShape placed = shape;
  placed.grid = grid;
  auto attention = parse_attention(text).build(placed);
  if (attention->traits().needs_2d && !grid) {
    throw usage_error(attention->mechanism(), "positions must lie in a grid of rows and columns",
                      "a network of sequences",
                      "Choose another mechanism, or give rows and columns as `grid`.");
  }
  if (attention->block()) {
    throw usage_error(attention->mechanism(), "block needs a mask of blocks, which a network has not", text,
                      "Leave it out.");
  }
  return attention;
}

}  // namespace fovea::nn
