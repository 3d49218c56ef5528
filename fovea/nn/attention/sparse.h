#pragma once
#include "fovea/nn/attention/entry.h"

// The two patterns of Generating long sequences with sparse transformers (Child et al. 2019), section 4.3,
// each the union of what its two heads see (4.2, merged heads). Both are causal.

namespace fovea::nn {

/// 0 <= i - j <= stride, or stride divides i - j >= 0.
AttentionEntry sparse_strided_attention();

/// The query's own block of `stride` positions, and the last `summary` of every block before.
AttentionEntry sparse_fixed_attention();

}  // namespace fovea::nn
