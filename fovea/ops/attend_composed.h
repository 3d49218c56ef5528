#pragma once
#include <vector>

#include "fovea/ops/attend.h"
#include "fovea/ops/call_functors.h"

namespace fovea {

/// The definition of attend() in tensor operations: any device, any type, autograd of any order.
/// Arguments as attend(), which has checked them. Scores of bfloat16 and float16 are computed in float32,
/// under autocast too.
AttendResult attend_composed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const AttendOptions& options);

/// The same with the steps between q.k and the normaliser as given, whatever the options say of them.
AttendResult attend_composed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const AttendOptions& options, const FunctorList& functors);

/// What follows the scores (B, H, N, M) in attend_composed(): functors, softmax, dropout and the sum of
/// values v (B, Hkv, M, Dv). To be called without autocast.
AttendResult attend_scores(at::Tensor scores, const at::Tensor& v, const AttendOptions& options,
                           const FunctorList& functors);

/// Of the outputs; that of lse may be undefined.
struct OutputGradients {
  at::Tensor out, lse;
};

/// Gradients of the definition's `result` by those of `inputs` that require one, undefined for the rest;
/// differentiable in turn. result.lse is read where grads.lse is defined.
std::vector<at::Tensor> composed_gradients(const AttendResult& result, const std::vector<at::Tensor>& inputs,
                                           const OutputGradients& grads);

}  // namespace fovea
