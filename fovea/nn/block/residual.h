#pragma once
#include <string>

#include "fovea/nn/block/attention_block.h"
#include "fovea/nn/block/drop_path.h"
#include "fovea/nn/layers.h"

namespace fovea::nn {

/// How a residual block's input reaches its output when their shapes differ. (When they agree: unchanged.)
enum class Shortcut {
  /// 1x1 convolution and norm, `downsample.0`, `downsample.1`: He et al. 2016, option B.
  projection,
  /// Every stride-th place, and zero channels on both sides: option A, without parameters.
  pad,
  /// No shortcut at all, also where shapes agree: the paper's plain network.
  none
};

struct ResidualOptions {
  int64_t in_channels = 0;
  /// Width of the 3x3 convolutions; the output has 1 (basic) or 4 (bottleneck) times as many channels.
  int64_t planes = 0;
  int64_t stride = 1;
  Shortcut shortcut = Shortcut::projection;
  /// A name of attention_block_entries() or `none`; acts on the branch before the sum.
  std::string attention_block = "none";
  int64_t reduction = 16;
  double drop_path = 0.0;
};

/// The common half of residual blocks.   out = relu(branch(x) + shortcut(x))
/// (B, in_channels, H, W) -> (B, C', ceil(H / stride), ceil(W / stride)). State-dict keys are torchvision's,
/// with the attention block under its own name (`se` as in timm, `cbam` as its authors have it).
/// Source: He et al. 2016, Deep residual learning, 3.2 and 4.1.
class ResidualBlock : public UnaryModule {
 public:
  at::Tensor forward(const at::Tensor& x) override;

  /// Sets the scale of the branch's last norm to 0, so that the block starts as the identity.
  /// Source: Goyal et al. 2017, 5.1.
  virtual void zero_init_last() = 0;

 protected:
  ResidualBlock(const ResidualOptions& options, int64_t out_channels);
  virtual at::Tensor branch(const at::Tensor& x) = 0;

  /// Registers what follows the branch's layers; the last thing in a constructor, as registration order is
  /// state-dict order.
  void register_tail();

  ReLU relu{nullptr};

 private:
  ResidualOptions options_;
  int64_t out_channels_;
  std::shared_ptr<UnaryModule> gate_;
  std::shared_ptr<UnaryModule> downsample_;
  DropPath drop_path_{nullptr};
};

/// A convolution of a residual branch: no bias, a norm follows; padding keeps the size at stride 1.
Conv2d branch_conv(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1);

/// bn2(conv2(relu(bn1(conv1(x))))), two 3x3 convolutions, the stride on the first.
class BasicBlockImpl : public ResidualBlock {
 public:
  static constexpr int64_t expansion = 1;
  explicit BasicBlockImpl(const ResidualOptions& options);
  void zero_init_last() override;

 protected:
  at::Tensor branch(const at::Tensor& x) override;

 private:
  Conv2d conv1_{nullptr}, conv2_{nullptr};
  BatchNorm2d bn1_{nullptr}, bn2_{nullptr};
};

/// 1x1, 3x3 and 1x1 convolutions, planes -> planes -> 4 planes. The stride is on the 3x3, as torchvision and
/// timm have it (the paper's is on the first 1x1).
class BottleneckImpl : public ResidualBlock {
 public:
  static constexpr int64_t expansion = 4;
  explicit BottleneckImpl(const ResidualOptions& options);
  void zero_init_last() override;

 protected:
  at::Tensor branch(const at::Tensor& x) override;

 private:
  Conv2d conv1_{nullptr}, conv2_{nullptr}, conv3_{nullptr};
  BatchNorm2d bn1_{nullptr}, bn2_{nullptr}, bn3_{nullptr};
};

}  // namespace fovea::nn
