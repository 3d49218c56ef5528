#pragma once
#include "fovea/nn/position/entry.h"

namespace fovea::nn {

/// A penalty on distance, steeper in each head.   s_ij - slope_h |i - j|, slopes of alibi_slopes()
/// No parameters; in the fused kernel, without a matrix of pairs.   Source: ALiBi (Press et al. 2022),
/// section 3; both sides: the authors' remark for encoders (|i - j|).
PositionEntry alibi_position();

}  // namespace fovea::nn
