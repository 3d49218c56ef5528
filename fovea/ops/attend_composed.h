#pragma once
#include "fovea/ops/attend.h"

namespace fovea {

/// The definition of attend() in tensor operations: any device, any type, autograd of any order.
/// Arguments as attend(), which has checked them. Scores of bfloat16 and float16 are computed in float32,
/// under autocast too.
AttendResult attend_composed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const AttendOptions& options);

}  // namespace fovea
