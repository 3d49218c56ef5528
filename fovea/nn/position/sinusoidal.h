#pragma once
#include "fovea/nn/position/entry.h"

namespace fovea::nn {

/// Sines and cosines of geometric wavelengths.
///   PE(p, 2i) = sin(p / base^(2i / width)), PE(p, 2i + 1) = cos of the same
/// positions of any shape and type -> (..., width) float64, width even. O(T width).   Source: Vaswani et al.
/// 2017, 3.5.
at::Tensor sinusoidal_positions(const at::Tensor& positions, int64_t width, double base = 10000.0);

/// x_t + PE(t), of an even width. PE(t + k) is a rotation of PE(t) that depends on k alone.
PositionEntry sinusoidal_position();

}  // namespace fovea::nn
