#pragma once
#include "fovea/ops/exponential_features.h"

namespace fovea {

/// Whether the kernels read such operands.
bool has_exponential_kernel(const at::Tensor& x, const at::Tensor& directions);

/// As query_exponentials() and key_exponentials(), by kernels.
at::Tensor query_exponentials_fused(const at::Tensor& x, const at::Tensor& directions, double scale);
KeyExponentials key_exponentials_fused(const at::Tensor& x, const at::Tensor& directions, double scale,
                                       const at::Tensor& hidden, const at::Tensor& least);

}  // namespace fovea
