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

/// attend(input), whose weights are shown in the name of `host` while an AttentionTapScope lives, where there
/// are any.
template <class Attend>
AttentionOutput attend_tapped(const torch::nn::Module& host, const AttentionTraits& traits,
                              AttentionInput input, const Attend& attend) {
  const bool shown = attention_tapped() && traits.gives_weights;
  input.call.weights = input.call.weights || shown;
  AttentionOutput result = attend(std::move(input));
  if (shown) tap_attention(host, result.weights);
  return result;
}

/// Runs host.attention with the positions of host.position, tapped.
template <class Host>
AttentionOutput run_tapped(const Host& host, AttentionInput input) {
  return attend_tapped(host, host.attention->traits(), std::move(input), [&](AttentionInput in) {
    return host.position->attend(*host.attention, std::move(in));
  });
}

/// Runs the attention of a host that has no position scheme, tapped.
inline AttentionOutput run_tapped(const torch::nn::Module& host, Attention& attention, AttentionInput input) {
  return attend_tapped(host, attention.traits(), std::move(input),
                       [&](const AttentionInput& in) { return attention.forward(in); });
}

}  // namespace fovea::nn
