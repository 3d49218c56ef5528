#pragma once
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

/// The query's own block of `stride` positions, and the last `summary` of every block before: what the two
/// heads of the paper see, in one (4.2, merged heads). Causal.   Source: Generating long sequences with
/// sparse transformers (Child et al. 2019), 4.3.
AttentionEntry sparse_fixed_attention();

}  // namespace fovea::nn
