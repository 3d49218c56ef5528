#pragma once
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

namespace fovea::nn {

/// A module from one tensor to one tensor: what a network can hold without knowing which it is.
class UnaryModule : public torch::nn::Module {
 public:
  virtual at::Tensor forward(const at::Tensor& x) = 0;
};

}  // namespace fovea::nn
