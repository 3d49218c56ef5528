#include "fovea/nn/layers.h"

#include <ATen/ops/gelu.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/relu.h>

namespace fovea::nn {

at::Tensor Conv2dImpl::forward(const at::Tensor& x) {
  at::Tensor out = torch::nn::Conv2dImpl::forward(x);
  tap(*this, x, out);
  return out;
}

int64_t Conv2dImpl::multiply_adds(const at::Tensor&, const at::Tensor& output) const {
  return output.numel() * (weight.numel() / weight.size(0));
}

Window Conv2dImpl::window(const at::Tensor&, int axis) const {
  const auto a = static_cast<size_t>(axis - 2);
  return {(*options.kernel_size())[a], (*options.stride())[a], (*options.dilation())[a]};
}

at::Tensor LinearImpl::forward(const at::Tensor& x) {
  at::Tensor out = torch::nn::LinearImpl::forward(x);
  tap(*this, x, out);
  return out;
}

int64_t LinearImpl::multiply_adds(const at::Tensor&, const at::Tensor& output) const {
  return output.numel() * weight.size(1);
}

at::Tensor BatchNorm2dImpl::forward(const at::Tensor& x) {
  at::Tensor out = torch::nn::BatchNorm2dImpl::forward(x);
  tap(*this, x, out);
  return out;
}

at::Tensor LayerNormImpl::forward(const at::Tensor& x) {
  at::Tensor out = torch::nn::LayerNormImpl::forward(x);
  tap(*this, x, out);
  return out;
}

void LayerNormImpl::drop_bias() {
  parameters_.erase("bias");
  bias = at::Tensor();
}

at::Tensor DropoutImpl::forward(const at::Tensor& x) {
  if (!is_training() || options.p() == 0.0) return x;
  at::Tensor out = torch::nn::DropoutImpl::forward(x);
  tap(*this, x, out);
  return out;
}

at::Tensor ReLUImpl::forward(const at::Tensor& x) {
  if (inplace_ && !tapped()) {
    at::Tensor out = x;
    return out.relu_();
  }
  at::Tensor out = at::relu(x);
  tap(*this, x, out);
  return out;
}

at::Tensor GELUImpl::forward(const at::Tensor& x) {
  at::Tensor out = at::gelu(x);
  tap(*this, x, out);
  return out;
}

at::Tensor MaxPool2dImpl::forward(const at::Tensor& x) {
  at::Tensor out = at::max_pool2d(x, kernel_, stride_, padding_);
  tap(*this, x, out);
  return out;
}

Window MaxPool2dImpl::window(const at::Tensor&, int) const { return {kernel_, stride_, 1}; }

at::Tensor GlobalAvgPool2dImpl::forward(const at::Tensor& x) {
  at::Tensor out = x.mean({2, 3});
  tap(*this, x, out);
  return out;
}

Window GlobalAvgPool2dImpl::window(const at::Tensor& input, int axis) const {
  return {input.size(axis), input.size(axis), 1};
}

}  // namespace fovea::nn
