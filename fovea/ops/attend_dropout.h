#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "fovea/kernels/attend_args.h"
#include "fovea/ops/attend.h"

namespace fovea {

/// A seed from torch's generator on the CPU.
uint64_t draw_seed();

/// What options with a seed say of dropout.
kernels::Dropout dropout_of(const AttendOptions& options);

/// 0 where a weight is dropped and `scale` elsewhere, of the shape (B, H, N, M) and type of `weights`: the
/// definition of kernels::Dropout. O(B H N M).
at::Tensor dropout_factors(const at::Tensor& weights, const kernels::Dropout& dropout);

}  // namespace fovea
