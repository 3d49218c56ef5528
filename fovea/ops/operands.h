#pragma once
#include <ATen/core/Tensor.h>

// Operands as definitions compute with them: in a type that holds the sums, with a head of keys for each of
// the queries'.

namespace fovea {

/// Floating point numbers in float32 at least: float64 as it is, other types as float32. Differentiable.
at::Tensor widened(const at::Tensor& t);

/// (B, Hkv, T, D) with each head once for every one of `heads` that shares it.
at::Tensor with_heads(const at::Tensor& t, int64_t heads);

/// Rows of t (B, H, T, D) by their numbers (B, H|1, C): (B, H, C, D).
at::Tensor gathered_rows(const at::Tensor& t, const at::Tensor& numbers);

}  // namespace fovea
