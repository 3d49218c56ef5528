#pragma once
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "fovea/nn/attention/attention.h"
#include "fovea/nn/position/position.h"
#include "fovea/nn/tap.h"

// What networks that hold an attention have in common.

namespace fovea::nn {

/// The mechanism of this text, see parse_attention(), between the projections of a network whose positions
/// lie in `grid`, if anywhere. Throws fovea::Error (usage) as that does, if it needs a mask of blocks in
/// every call, and if it needs a grid that there is not.
std::shared_ptr<Attention> hosted_attention(const std::string& text, const AttentionShape& shape,
                                            const std::optional<GridPositions>& grid);

/// Runs host.attention with the positions of host.position, and shows its weights in the name of `host` while
/// an AttentionTapScope lives, where it has any.
template <class Host>
AttentionOutput run_tapped(const Host& host, AttentionInput input) {
  const bool shown = attention_tapped() && host.attention->traits().gives_weights;
  input.call.weights = input.call.weights || shown;
  AttentionOutput result = host.position->attend(*host.attention, std::move(input));
  if (shown) tap_attention(host, result.weights);
  return result;
}

}  // namespace fovea::nn
