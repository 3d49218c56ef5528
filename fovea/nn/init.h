#pragma once
#include <ATen/core/Tensor.h>

namespace fovea::nn {

/// Fills with a normal distribution of mean 0 cut at -2 and 2 (absolute values, not multiples of `std`), as
/// timm and JAX do; torch's C++ has none. Inverse transform of a uniform number.
void trunc_normal_(const at::Tensor& tensor, double std);

}  // namespace fovea::nn
