#pragma once
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

/// a b^T of rows a (..., N, D) and b (..., M, D). Rows that are not finite pass no gradient: times one of 0,
/// as of what is hidden, theirs would be NaN.
at::Tensor row_products(const at::Tensor& a, const at::Tensor& b);

/// (B, Hkv, T, D) with each head once for every one of `heads` that shares it.
at::Tensor with_heads(const at::Tensor& t, int64_t heads);

/// bfloat16 and float16 as float32; other types as they are.
at::Tensor half_widened(const at::Tensor& t);

/// Whether all numbers are finite; those of a tensor without data are.
bool all_finite(const at::Tensor& t);

/// `t` with 0 where it is not finite, through which no gradient passes there.
at::Tensor finite_part(const at::Tensor& t);

/// t factors. Numbers of `t` that are not finite pass no gradient: times one of 0, as of a hidden key, they
/// would make it NaN.
at::Tensor finite_product(const at::Tensor& t, const at::Tensor& factors);

}  // namespace fovea
