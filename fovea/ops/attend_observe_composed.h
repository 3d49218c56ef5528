#pragma once
#include "fovea/ops/attend_observe.h"

namespace fovea {

/// The definition of observe_attend() in tensor operations, from the weights of attend_composed(). Arguments
/// as observe_attend(), which has checked them. O(B H N M) memory.
AttendObserved observe_composed(const at::Tensor& q, const at::Tensor& k, const AttendOptions& options,
                                const at::Tensor& lse, const AttendObservation& wanted);

}  // namespace fovea
