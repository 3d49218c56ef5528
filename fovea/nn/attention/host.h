#pragma once
#include <memory>
#include <optional>
#include <string>

#include "fovea/nn/attention/attention.h"

// What networks that hold an attention have in common.

namespace fovea::nn {

/// The mechanism of this text, see parse_attention(), between the projections of a network whose positions
/// lie in `grid`, if anywhere. Throws fovea::Error (usage) as that does, if it needs a mask of blocks in
/// every call, and if it needs a grid that there is not.
std::shared_ptr<Attention> hosted_attention(const std::string& text, const AttentionShape& shape,
                                            const std::optional<GridPositions>& grid);

/// Runs it, and shows its weights in the name of `host` while an AttentionTapScope lives, where it has any.
AttentionOutput run_tapped(const torch::nn::Module& host, Attention& attention, AttentionInput input);

}  // namespace fovea::nn
