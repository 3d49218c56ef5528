#pragma once
#include <optional>
#include <string_view>

#include "fovea/ops/attend.h"

namespace fovea {

/// Why the kernel for few queries cannot run this call, or another is quicker; empty when it should.
/// Arguments as attend(), which has checked them.
std::optional<std::string_view> why_not_decode(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                               const AttendOptions& options);

/// attend() for a few queries, such as the newest token of a sequence: reads each key and value once, where
/// it stands, at the speed of the memory. No gradient.
AttendResult attend_decode(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttendOptions& options);

}  // namespace fovea
