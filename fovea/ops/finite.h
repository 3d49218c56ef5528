#pragma once
#include <ATen/core/Tensor.h>

// Numbers that are not finite in definitions: what is hidden may hold NaN and infinity, and a gradient of 0
// times a slope that is not finite would be NaN.

namespace fovea {

/// Whether all numbers of the tensors, which share a device, are finite; those of a tensor without data are.
bool all_finite(at::TensorList tensors);

/// `t` with 0 where it is not finite, through which no gradient passes there.
at::Tensor finite_part(const at::Tensor& t);

/// t factors. Numbers of `t` that are not finite pass no gradient: times one of 0, as of a hidden key, they
/// would make it NaN.
at::Tensor finite_product(const at::Tensor& t, const at::Tensor& factors);

/// a b^T of rows a (..., N, D) and b (..., M, D). Rows that are not finite pass no gradient: times one of 0,
/// as of what is hidden, theirs would be NaN.
at::Tensor row_products(const at::Tensor& a, const at::Tensor& b);

}  // namespace fovea
