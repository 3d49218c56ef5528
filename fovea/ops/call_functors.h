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

/// Of all pairs of scores (B, H, N, M), on the device of `like`.
TensorAt positions_of(const at::Tensor& like, at::IntArrayRef scores);

/// Broadcastable to (B, H, N, M), true = may attend; undefined when all may.
at::Tensor allowed_pairs(const FunctorList& functors, const TensorAt& at);

}  // namespace fovea
