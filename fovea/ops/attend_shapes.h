#pragma once
#include "fovea/ops/attend.h"

namespace fovea {

/// attend() of tensors without numbers (meta): what it would give, without numbers. Results by queries and
/// values, of v's type; what was asked for is defined.
AttendResult attend_shapes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttendOptions& options);

}  // namespace fovea
