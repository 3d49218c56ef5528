#pragma once
#include <memory>

#include "fovea/nn/attention/attention.h"
#include "fovea/nn/block/unary.h"
#include "fovea/nn/layers.h"

namespace fovea::nn {

struct AttentionAugmentedConv2dOptions {
  int64_t in_channels = 0, out_channels = 0;
  /// Odd.
  int64_t kernel_size = 3;
  /// Channels of all keys and of all values; `heads` divides both, and value_channels are among out_channels.
  int64_t key_channels = 0, value_channels = 0, heads = 1;
  /// Of the maps that it will see.
  GridPositions grid;
};

/// A convolution some of whose channels come from attention over the whole map.
///   out = [conv_out(x); attn_out(attention(qkv_conv(x)))] along channels
/// x (B, C, rows, columns) -> (B, out_channels, rows, columns). Keys `conv_out` (C -> out_channels -
/// value_channels), `qkv_conv` (1x1: queries, keys, values, each heads x head size), `attn_out` (1x1), and
/// those of `conv_augmented` under `attention`.   Throws fovea::Error (usage) if channels, heads or kernel do
/// not fit, and on a map of another grid. Source: Attention Augmented Convolutional Networks (Bello et al.
/// 2019), 3.1 and 3.3.
class AttentionAugmentedConv2dImpl : public UnaryModule, public Costed, public SeesAll {
 public:
  explicit AttentionAugmentedConv2dImpl(const AttentionAugmentedConv2dOptions& options);
  at::Tensor forward(const at::Tensor& x) override;
  /// The mechanism's.
  int64_t multiply_adds(const at::Tensor& input, const at::Tensor& output) const override;

  Conv2d conv_out{nullptr}, qkv_conv{nullptr}, attn_out{nullptr};
  std::shared_ptr<Attention> attention;

 private:
  AttentionAugmentedConv2dOptions options_;
};
TORCH_MODULE(AttentionAugmentedConv2d);

}  // namespace fovea::nn
