#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fovea::nn {

/// The slopes of ALiBi, (H) float32: 2^(-8 (h + 1) / H) for powers of two; otherwise those of the power
/// below, then every second one of the power above.   Source: Press et al. 2022, section 3 and their code.
at::Tensor alibi_slopes(int64_t heads);

}  // namespace fovea::nn
