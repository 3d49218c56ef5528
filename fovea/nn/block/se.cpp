#include "fovea/nn/block/se.h"

#include <ATen/ops/sigmoid.h>

#include <algorithm>

namespace fovea::nn {

SqueezeExciteImpl::SqueezeExciteImpl(int64_t channels, int64_t reduced) {
  fc1 = register_module("fc1", Conv2d(torch::nn::Conv2dOptions(channels, reduced, 1)));
  act = register_module("act", ReLU(/*inplace=*/true));
  fc2 = register_module("fc2", Conv2d(torch::nn::Conv2dOptions(reduced, channels, 1)));
}

at::Tensor SqueezeExciteImpl::forward(const at::Tensor& x) {
  const at::Tensor squeezed = x.mean({2, 3}, /*keepdim=*/true);
  at::Tensor out = x * at::sigmoid(fc2->forward(act->forward(fc1->forward(squeezed))));
  tap(*this, x, out);
  return out;
}

int64_t se_reduced_width(int64_t channels, int64_t reduction) {
  const double width = static_cast<double>(channels) / static_cast<double>(reduction);
  return std::max<int64_t>(8, static_cast<int64_t>(width + 4.0) / 8 * 8);
}

}  // namespace fovea::nn
