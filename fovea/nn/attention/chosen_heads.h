#pragma once
#include <ATen/core/Tensor.h>

#include "fovea/nn/attention/attention.h"

namespace fovea::nn {

/// The input of some heads alone: `heads` are their numbers, int64. Each has keys and values of its own then.
/// Of sequences that do not stand behind each other. Dropout draws another pattern.
AttentionInput chosen_heads(const AttentionInput& input, const at::Tensor& heads);

}  // namespace fovea::nn
