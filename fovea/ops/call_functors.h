#pragma once
#include <memory>
#include <vector>

#include "fovea/ops/attend.h"
#include "fovea/ops/dense_functors.h"

namespace fovea {

/// The steps of a call between q.k and the softmax, in order; nothing but `options.functors` hides and scores
/// at once.
using FunctorList = std::vector<std::shared_ptr<const AttendFunctors>>;

/// What options say, for q and k that attend() has checked.
FunctorList call_functors(const at::Tensor& q, const at::Tensor& k, const AttendOptions& options,
                          Tiles tiles);

}  // namespace fovea
