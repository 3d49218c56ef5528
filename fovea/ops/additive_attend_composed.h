#pragma once
#include "fovea/ops/attend.h"

namespace fovea {

/// The definition of additive_attend() in tensor operations: any device, any type, autograd of any order, in
/// O(B H N M E) memory. Arguments as additive_attend(), which has checked them. Scores of bfloat16 and
/// float16 are computed in float32, under autocast too.
AttendResult additive_attend_composed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                      const at::Tensor& w, const AttendOptions& options);

}  // namespace fovea
