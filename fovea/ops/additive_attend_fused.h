#pragma once
#include <optional>
#include <string_view>

#include "fovea/ops/attend.h"

namespace fovea {

/// Why the fused kernel cannot run this call, or another is quicker; empty when it should. Arguments as
/// additive_attend(), which has checked them.
std::optional<std::string_view> why_not_additive_fused(const at::Tensor& q, const at::Tensor& k,
                                                       const at::Tensor& v, const at::Tensor& w,
                                                       const AttendOptions& options);

/// additive_attend() in one kernel, tile by tile, with gradients by q, k, v and w in another.
AttendResult additive_attend_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                   const at::Tensor& w, const AttendOptions& options);

}  // namespace fovea
