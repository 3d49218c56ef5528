#pragma once
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

/// Softmax over the keys near a query, |i - j| <= window.   Source: Luong et al. 2015, 3.2 (local-m); the
/// restricted self-attention of radius r of Vaswani et al. 2017, section 4.
AttentionEntry local_attention();

}  // namespace fovea::nn
