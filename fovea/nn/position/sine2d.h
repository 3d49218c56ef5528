#pragma once
#include "fovea/nn/position/entry.h"

namespace fovea::nn {

/// Sines and cosines of row and column: the first half of the width tells y, the second x.
///   x_t + [PE(2 pi (y + 1) / (rows + 1e-6)), PE(2 pi (x + 1) / (columns + 1e-6))], PE of the width / 2
/// Tokens before the grid have none. The width must be a multiple of 4. O(T width).   Source: DETR (Carion et
/// al. 2020), appendix A.4, and its published code; formula of one axis: Vaswani et al. 2017, 3.5.
PositionEntry sine2d_position();

}  // namespace fovea::nn
