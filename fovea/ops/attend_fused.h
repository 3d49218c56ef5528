#pragma once
#include <optional>
#include <string_view>

#include "fovea/ops/attend.h"

namespace fovea {

/// Why the fused kernel cannot run this call, or another is quicker; empty when it should. Arguments as
/// attend(), which has checked them.
std::optional<std::string_view> why_not_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                              const AttendOptions& options);

/// attend() in one kernel, tile by tile, with gradients by q, k, v, the biases and what the functors learn in
/// another. O(B Hkv M (D + Dv)) memory; where gradients follow, half types keep the result in float32 too.
AttendResult attend_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const AttendOptions& options);

}  // namespace fovea
