#pragma once
#include "fovea/ops/linear_attend.h"

namespace fovea {

/// The definition of linear_attend(), pair by pair: any device, any type, autograd of any order, weights, in
/// O(B H N M) memory. Arguments as linear_attend(), which has checked them.
LinearAttendResult linear_attend_composed(const at::Tensor& phi_q, const at::Tensor& phi_k,
                                          const at::Tensor& v, const LinearAttendOptions& options);

/// What weights are divided by that sum to `sums`: infinity where nothing was summed, or so little (1e8 times
/// the least normal number) that its reciprocal's gradient would overflow.
at::Tensor divisors(const at::Tensor& sums);

}  // namespace fovea
