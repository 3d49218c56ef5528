#include "fovea/nn/init.h"

#include <c10/core/GradMode.h>

#include <cmath>

namespace fovea::nn {

void trunc_normal_(const at::Tensor& tensor, double std) {
  const c10::NoGradGuard no_grad;
  const double edge = std::erf(2.0 / std / std::sqrt(2.0));
  tensor.uniform_(-edge, edge).erfinv_().mul_(std * std::sqrt(2.0)).clamp_(-2.0, 2.0);
}

}  // namespace fovea::nn
