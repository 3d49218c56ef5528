#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fovea::nn {

/// Where the newest stand of the first lengths[b] places of each batch entry, the newest first, as memories
/// are counted: lengths[b] - 1 - s for s < count, and 0 where there are fewer.   lengths (B), int64 -> (B,
/// count).
at::Tensor newest_first(const at::Tensor& lengths, int64_t count);

/// Weights of those places, each at its own among all `places`, 0 at the others. What stands for no place
/// must weigh 0.   (B, ..., count) -> (B, ..., places). Differentiable.
at::Tensor in_order(const at::Tensor& weights, const at::Tensor& newest, int64_t places);

}  // namespace fovea::nn
