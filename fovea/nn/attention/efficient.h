#pragma once
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

/// Efficient attention: two softmaxes instead of one over pairs.
///   out_i = softmax over channels(q_i) . sum_j softmax over positions(k)_j v_j^T
/// Each channel of the keys is a map over all positions, which a query mixes; the weights of a query sum
/// to 1. No scale, no causal order, as every position has its part in each key. O((N + M) D Dv) time. Source:
/// Shen et al. 2021, Efficient attention: attention with linear complexities, 3.2 and 3.3.
AttentionEntry efficient_attention();

}  // namespace fovea::nn
