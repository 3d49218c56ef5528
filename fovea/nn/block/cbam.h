#pragma once
#include "fovea/nn/block/unary.h"
#include "fovea/nn/layers.h"

namespace fovea::nn {

/// CBAM's gate over channels.   x * sigmoid(mlp(mean_hw x) + mlp(max_hw x)), one MLP C -> C / r -> C
/// x (B, C, H, W) -> same. Keys `mlp.1`, `mlp.3` (the authors'). Source: Woo et al. 2018, CBAM, equation 2.
class ChannelGateImpl : public torch::nn::Module {
 public:
  ChannelGateImpl(int64_t channels, int64_t reduction);
  at::Tensor forward(const at::Tensor& x);

 private:
  at::Tensor score(const at::Tensor& pooled);
  Linear reduce_{nullptr}, restore_{nullptr};
  ReLU act_{nullptr};
};
TORCH_MODULE(ChannelGate);

/// CBAM's gate over places.   x * sigmoid(bn(conv7x7([max_c x; mean_c x])))
/// x (B, C, H, W) -> same. Keys `spatial.conv`, `spatial.bn` (the authors'); the norm's weight starts at 0,
/// so that the gate starts at 1/2 everywhere. Source: Woo et al. 2018, equation 3.
class SpatialGateImpl : public torch::nn::Module {
 public:
  SpatialGateImpl();
  at::Tensor forward(const at::Tensor& x);

 private:
  Conv2d conv_{nullptr};
  BatchNorm2d bn_{nullptr};
};
TORCH_MODULE(SpatialGate);

/// Convolutional block attention: the channel gate, then the spatial gate.   x (B, C, H, W) -> same.
/// Source: Woo et al. 2018, CBAM: Convolutional block attention module, equation 1.
class CbamImpl : public UnaryModule {
 public:
  explicit CbamImpl(int64_t channels, int64_t reduction = 16);
  at::Tensor forward(const at::Tensor& x) override;

 private:
  ChannelGate channel_gate_{nullptr};
  SpatialGate spatial_gate_{nullptr};
};
TORCH_MODULE(Cbam);

}  // namespace fovea::nn
