#pragma once
#include "fovea/nn/layers.h"

namespace fovea::nn {

/// The position-wise network of a transformer block.   fc2(gelu(fc1(x)))
/// x (..., dim) -> (..., dim), `hidden` numbers between; dropout after each layer. Keys `fc1`, `fc2`
/// (timm's). Source: Vaswani et al. 2017, 3.3; with GELU as Dosovitskiy et al. 2021, 3.1.
class MlpImpl : public torch::nn::Module {
 public:
  MlpImpl(int64_t dim, int64_t hidden, double drop = 0.0);
  at::Tensor forward(const at::Tensor& x);

  Linear fc1{nullptr}, fc2{nullptr};
  GELU act{nullptr};
  Dropout drop{nullptr};
};
TORCH_MODULE(Mlp);

}  // namespace fovea::nn
