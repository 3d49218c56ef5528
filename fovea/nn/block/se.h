#pragma once
#include "fovea/nn/block/unary.h"
#include "fovea/nn/layers.h"

namespace fovea::nn {

/// Squeeze and excitation: scales each channel by a gate.   x * sigmoid(fc2(relu(fc1(mean_hw x))))
/// x (B, C, H, W) -> same. Keys `fc1`, `fc2`, 1x1 convolutions with bias (timm's).
/// Source: Hu et al. 2018, Squeeze-and-excitation networks, 3.
class SqueezeExciteImpl : public UnaryModule {
 public:
  SqueezeExciteImpl(int64_t channels, int64_t reduced);
  at::Tensor forward(const at::Tensor& x) override;

  Conv2d fc1{nullptr}, fc2{nullptr};
  ReLU act{nullptr};
};
TORCH_MODULE(SqueezeExcite);

/// The reduced width of SE, rounded as timm does: channels / reduction to the nearest multiple of 8, at least
/// 8.
int64_t se_reduced_width(int64_t channels, int64_t reduction);

}  // namespace fovea::nn
