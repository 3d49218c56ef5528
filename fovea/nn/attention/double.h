#pragma once
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

/// Gathers the sequence into D descriptors, and hands each query its mixture of them.
///   g_d = sum_j softmax_j(k_jd) v_j   (gather, over positions)
///   out_i = sum_d softmax_d(q_id) g_d   (distribute, over descriptors)
/// Each channel of k is one attention map, each channel of q the demand for its descriptor: between
/// projections it is efficient attention, see EfficientAttention. Source: A2-Nets: Double Attention Networks
/// (Chen et al. 2018), 3.1 and 3.2.
AttentionEntry double_attention();

}  // namespace fovea::nn
