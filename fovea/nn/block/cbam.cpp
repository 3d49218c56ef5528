#include "fovea/nn/block/cbam.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/sigmoid.h>
#include <torch/nn/init.h>

#include <algorithm>

#include "fovea/nn/block/holder.h"

namespace fovea::nn {

ChannelGateImpl::ChannelGateImpl(int64_t channels, int64_t reduction) {
  const int64_t reduced = std::max<int64_t>(1, channels / reduction);
  auto mlp = register_module("mlp", std::make_shared<Holder>());
  reduce_ = mlp->add("1", Linear(channels, reduced));
  act_ = mlp->add("2", ReLU(/*inplace=*/true));
  restore_ = mlp->add("3", Linear(reduced, channels));
}

at::Tensor ChannelGateImpl::score(const at::Tensor& pooled) {
  return restore_->forward(act_->forward(reduce_->forward(pooled)));
}

at::Tensor ChannelGateImpl::forward(const at::Tensor& x) {
  const at::Tensor gate = at::sigmoid(score(x.mean({2, 3})) + score(x.amax({2, 3})));
  at::Tensor out = x * gate.unsqueeze(2).unsqueeze(3);
  tap(*this, x, out);
  return out;
}

SpatialGateImpl::SpatialGateImpl() {
  auto spatial = register_module("spatial", std::make_shared<Holder>());
  conv_ = spatial->add("conv", Conv2d(torch::nn::Conv2dOptions(2, 1, 7).padding(3).bias(false)));
  bn_ = spatial->add("bn", BatchNorm2d(torch::nn::BatchNorm2dOptions(1).momentum(0.01)));
  torch::nn::init::zeros_(bn_->weight);
}

at::Tensor SpatialGateImpl::forward(const at::Tensor& x) {
  const at::Tensor pooled = at::cat({x.amax(1, /*keepdim=*/true), x.mean(1, /*keepdim=*/true)}, 1);
  at::Tensor out = x * at::sigmoid(bn_->forward(conv_->forward(pooled)));
  tap(*this, x, out);
  return out;
}

CbamImpl::CbamImpl(int64_t channels, int64_t reduction) {
  channel_gate_ = register_module("ChannelGate", ChannelGate(channels, reduction));
  spatial_gate_ = register_module("SpatialGate", SpatialGate());
}

at::Tensor CbamImpl::forward(const at::Tensor& x) {
  at::Tensor out = spatial_gate_->forward(channel_gate_->forward(x));
  tap(*this, x, out);
  return out;
}

}  // namespace fovea::nn
