#pragma once
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

/// out_i = sum_j softmax_j(q_i . k_j / sqrt(D)) v_j; options of DotOptions.   Source: Vaswani et al. 2017,
/// Attention is all you need, 3.2.1.
AttentionEntry softmax_attention();

/// The same with scale 1.   Source: Luong et al. 2015, Effective approaches to attention-based neural machine
/// translation, 3.1.
AttentionEntry dot_attention();

}  // namespace fovea::nn
