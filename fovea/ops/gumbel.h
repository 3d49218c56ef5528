#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "fovea/mods/gumbel.h"
#include "fovea/ops/attend_functors.h"

namespace fovea {

/// The tensor face of gumbel(): the noise of all pairs, (B, H, N, M), float32, on the device of the
/// positions. O(B H N M).
at::Tensor gumbel(uint64_t seed, const TensorAt& at);

}  // namespace fovea
