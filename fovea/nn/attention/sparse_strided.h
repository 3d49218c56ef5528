#pragma once
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

/// 0 <= i - j <= stride, or stride divides i - j >= 0: what the two heads of the paper see, in one (4.2,
/// merged heads). Causal.   Source: Generating long sequences with sparse transformers (Child et al.
/// 2019), 4.3.
AttentionEntry sparse_strided_attention();

}  // namespace fovea::nn
