#pragma once
#include <optional>

#include "fovea/nn/attention/attention.h"

namespace fovea::nn {

/// The keys that each batch entry has, (B) int64 on the CPU, in 0 ... M; empty where all have all. For
/// mechanisms that read them before any operator does.
/// Throws fovea::Error (usage) in the name of `mechanism` unless they are integers of shape (B).
std::optional<at::Tensor> key_counts(const std::string& mechanism, const AttentionInput& input);

}  // namespace fovea::nn
