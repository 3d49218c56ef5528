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

/// Whether something is added to the scores: a dense bias, slopes, a table, relative keys.
bool adds_biases(const AttendOptions& options);

/// Whether something beside a causal order hides keys; what options.functors do is not asked.
bool hides_keys(const AttendOptions& options);

/// The mask of a window.
Window window_mask(const AttendWindow& window);

/// Of all pairs of scores (B, H, N, M), on the device of `like`.
TensorAt positions_of(const at::Tensor& like, at::IntArrayRef scores);

/// Broadcastable to (B, H, N, M), true = may attend; undefined when all may.
at::Tensor allowed_pairs(const FunctorList& functors, const TensorAt& at);

}  // namespace fovea
