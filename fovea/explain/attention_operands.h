#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "fovea/models/network.h"
#include "fovea/nn/attention/attention.h"

namespace fovea::explain {

/// What the self-attention layers of a network are given, in the order of the forward pass.
struct AttentionOperands {
  std::vector<std::string> layers;  ///< dotted names
  std::vector<nn::AttentionInput> inputs;
};

/// Runs the network in evaluation mode on images (B, C, H, W) and keeps the projected q, k, v of each layer,
/// before position schemes act, in float32.   O(layers B N E) memory. Throws fovea::Error (usage) when the
/// network has no self-attention layer.
AttentionOperands record_operands(models::ImageNetwork& network, const at::Tensor& images);

}  // namespace fovea::explain
