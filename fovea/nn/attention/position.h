#pragma once
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

/// Every position sees all by the plain product of q and k: `dot` under the name of the paper, whose module
/// also learns a factor on the result.   out_i = sum_j softmax_j(q_i . k_j) v_j
/// Options of DotOptions.   Source: Dual Attention Network (Fu et al. 2019), 3.2, equation 1.
AttentionEntry position_attention();

}  // namespace fovea::nn
