#pragma once
#include <optional>

#include "fovea/nn/attention/attention.h"

namespace fovea::nn {

/// The keys that each batch entry has, (B) int64 on the CPU, in 0 ... M; empty where all have all. For
/// mechanisms that read them before any operator does.
/// Throws fovea::Error (usage) in the name of `mechanism` unless they are integers of shape (B).
std::optional<at::Tensor> key_counts(const std::string& mechanism, const AttentionInput& input);

/// The keys that they leave out, (B, 1, M, 1) on the device of k, without waiting for it; undefined where all
/// have all. Throws as key_counts().
at::Tensor hidden_keys(const std::string& mechanism, const AttentionInput& input);

}  // namespace fovea::nn
