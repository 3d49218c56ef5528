#include "fovea/nn/init.h"

#include <c10/core/GradMode.h>

#include <cmath>

namespace fovea::nn {

void trunc_normal_(const at::Tensor& tensor, double std) {
  const c10::NoGradGuard no_grad;
  const double edge = std::erf(2.0 / std / std::sqrt(2.0));
  // uniform_ gives its lower end once in 2^24 float32 numbers. When the cut is so far out that `edge` is 1,
  // erfinv is infinite there, and a single weight would become -2: 100 deviations of 0.02.
  const double lowest = -edge + std::ldexp(1.0, -24);
  tensor.uniform_(-edge, edge).clamp_min_(lowest).erfinv_().mul_(std * std::sqrt(2.0)).clamp_(-2.0, 2.0);
}

}  // namespace fovea::nn
