#pragma once
#include "fovea/ops/exponential_features.h"

namespace fovea {

/// The definitions, by operations on tensors.
at::Tensor query_exponentials_composed(const at::Tensor& x, const at::Tensor& directions, double scale);
KeyExponentials key_exponentials_composed(const at::Tensor& x, const at::Tensor& directions, double scale,
                                          const at::Tensor& hidden, const at::Tensor& least);

/// c of key_exponentials(), from the largest power of each row, (B, H, N, 1), which it changes.
at::Tensor largest_of_heads(at::Tensor largest_of_rows, const at::Tensor& hidden, const at::Tensor& least);

}  // namespace fovea
