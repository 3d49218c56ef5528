#include "fovea/nn/block/residual.h"

#include <ATen/ops/constant_pad_nd.h>
#include <torch/nn/init.h>

#include <limits>

namespace fovea::nn {
namespace {

class Projection : public UnaryModule {
 public:
  Projection(int64_t in, int64_t out, int64_t stride) {
    conv_ = register_module("0", branch_conv(in, out, 1, stride));
    bn_ = register_module("1", BatchNorm2d(out));
  }
  at::Tensor forward(const at::Tensor& x) override {
    at::Tensor out = bn_->forward(conv_->forward(x));
    tap(*this, x, out);
    return out;
  }

 private:
  Conv2d conv_{nullptr};
  BatchNorm2d bn_{nullptr};
};

class Padding : public UnaryModule {
 public:
  Padding(int64_t in, int64_t out, int64_t stride)
      : before_((out - in) / 2), after_(out - in - before_), stride_(stride) {}
  at::Tensor forward(const at::Tensor& x) override {
    constexpr int64_t end = std::numeric_limits<int64_t>::max();
    at::Tensor out = at::constant_pad_nd(x.slice(2, 0, end, stride_).slice(3, 0, end, stride_),
                                         {0, 0, 0, 0, before_, after_});
    tap(*this, x, out);
    return out;
  }

 private:
  int64_t before_, after_, stride_;
};

}  // namespace

Conv2d branch_conv(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  return Conv2d(torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
}

ResidualBlock::ResidualBlock(const ResidualOptions& options, int64_t out_channels)
    : options_(options), out_channels_(out_channels) {}

void ResidualBlock::register_tail() {
  const auto& o = options_;
  relu = register_module("relu", ReLU(/*inplace=*/true));
  gate_ = make_attention_block(o.attention_block, out_channels_, o.reduction);
  if (gate_) register_module(o.attention_block, gate_);
  drop_path_ = register_module("drop_path", DropPath(o.drop_path));
  if (o.shortcut == Shortcut::none || (o.stride == 1 && o.in_channels == out_channels_)) return;
  if (o.shortcut == Shortcut::projection) {
    downsample_ = std::make_shared<Projection>(o.in_channels, out_channels_, o.stride);
  } else {
    downsample_ = std::make_shared<Padding>(o.in_channels, out_channels_, o.stride);
  }
  register_module("downsample", downsample_);
}

at::Tensor ResidualBlock::forward(const at::Tensor& x) {
  at::Tensor y = branch(x);
  if (gate_) y = gate_->forward(y);
  y = drop_path_->forward(y);
  if (options_.shortcut != Shortcut::none) {
    const at::Tensor shortcut = downsample_ ? downsample_->forward(x) : x;
    // The branch's last tensor is ours alone, unless a listener holds it.
    y = tapped() ? y + shortcut : y.add_(shortcut);
  }
  at::Tensor out = relu->forward(y);
  tap(*this, x, out);
  return out;
}

BasicBlockImpl::BasicBlockImpl(const ResidualOptions& o) : ResidualBlock(o, o.planes * expansion) {
  conv1_ = register_module("conv1", branch_conv(o.in_channels, o.planes, 3, o.stride));
  bn1_ = register_module("bn1", BatchNorm2d(o.planes));
  conv2_ = register_module("conv2", branch_conv(o.planes, o.planes, 3));
  bn2_ = register_module("bn2", BatchNorm2d(o.planes));
  register_tail();
}

at::Tensor BasicBlockImpl::branch(const at::Tensor& x) {
  const at::Tensor y = relu->forward(bn1_->forward(conv1_->forward(x)));
  return bn2_->forward(conv2_->forward(y));
}

void BasicBlockImpl::zero_init_last() { torch::nn::init::zeros_(bn2_->weight); }

BottleneckImpl::BottleneckImpl(const ResidualOptions& o) : ResidualBlock(o, o.planes * expansion) {
  conv1_ = register_module("conv1", branch_conv(o.in_channels, o.planes, 1));
  bn1_ = register_module("bn1", BatchNorm2d(o.planes));
  conv2_ = register_module("conv2", branch_conv(o.planes, o.planes, 3, o.stride));
  bn2_ = register_module("bn2", BatchNorm2d(o.planes));
  conv3_ = register_module("conv3", branch_conv(o.planes, o.planes * expansion, 1));
  bn3_ = register_module("bn3", BatchNorm2d(o.planes * expansion));
  register_tail();
}

at::Tensor BottleneckImpl::branch(const at::Tensor& x) {
  const at::Tensor y = relu->forward(bn1_->forward(conv1_->forward(x)));
  const at::Tensor z = relu->forward(bn2_->forward(conv2_->forward(y)));
  return bn3_->forward(conv3_->forward(z));
}

void BottleneckImpl::zero_init_last() { torch::nn::init::zeros_(bn3_->weight); }

}  // namespace fovea::nn
