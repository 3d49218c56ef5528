#pragma once
#include "fovea/nn/attention/entry.h"

// Scaled dot products whose scores become weights by another normaliser than softmax; AttendNormaliser has
// their definitions.

namespace fovea::nn {

/// A score of each head's own in the sum, `sinks` (H), without a value: a query may attend to nothing.
AttentionEntry softmax_sink_attention();
/// Each pair by itself.
AttentionEntry sigmoid_attention();
/// Weights of low scores are exactly 0.
AttentionEntry sparsemax_attention();

}  // namespace fovea::nn
