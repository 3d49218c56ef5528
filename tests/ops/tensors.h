#pragma once
#include <ATen/ATen.h>

#include <vector>

#include "tests/support/numbers.h"

// Tensors that the tests of this folder draw, widen and compare.

namespace fovea::test {

using Tensors = std::vector<at::Tensor>;

/// Standard normal numbers in float64.
inline at::Tensor random(at::IntArrayRef shape) { return at::randn(shape, at::kDouble); }
inline at::Tensor random_leaf(at::IntArrayRef shape) { return random(shape).requires_grad_(); }

inline Tensors in_double(const Tensors& inputs) {
  Tensors wide;
  for (const auto& t : inputs) wide.push_back(t.to(at::kDouble));
  return wide;
}

/// The largest |a - b|, in float64.
inline double difference(const at::Tensor& a, const at::Tensor& b) {
  return a.numel() == 0 ? 0.0 : (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace fovea::test
