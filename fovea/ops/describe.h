#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace fovea {

/// A tensor in an error message: `(2, 8, 64, 64) float cpu`, or `undefined`.
std::string describe(const at::Tensor& tensor);

/// `(2, 8, 64, 64)`
std::string describe_shape(at::IntArrayRef shape);

}  // namespace fovea
