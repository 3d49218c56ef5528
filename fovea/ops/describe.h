#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace fovea {

/// A tensor in an error message: `(2, 8, 64, 64) float cpu`, or `undefined`.
std::string describe(const at::Tensor& tensor);

/// `(2, 8, 64, 64)`
std::string describe_shape(at::IntArrayRef shape);

/// The shortest text that is this number, whatever the locale: `0.125`, `1e+300`.
std::string describe_number(double number);

}  // namespace fovea
