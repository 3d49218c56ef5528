#pragma once
#include <ATen/ATen.h>

namespace fovea::nn {

/// The largest |a - b|, in float64; they broadcast.
inline double gap(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace fovea::nn
