#pragma once
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

/// A window, dilated if wanted, and positions at the start that see all and are seen by all.   Source:
/// Longformer (Beltagy et al. 2020), 3.1.
AttentionEntry longformer_attention();

}  // namespace fovea::nn
