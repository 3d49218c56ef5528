#pragma once
#include <memory>
#include <string>

#include "fovea/nn/attention/attention.h"
#include "fovea/nn/block/drop_path.h"
#include "fovea/nn/block/se.h"
#include "fovea/nn/block/unary.h"
#include "fovea/nn/layers.h"

// Blocks of CoAtNet: Marrying Convolution and Attention for All Data Sizes (Dai et al. 2021), in the form and
// with the keys of timm's `coatnet_0_rw_224`.

namespace fovea::nn {

/// Means of 2 x 2 places, then a 1x1 convolution without bias where channels change.
/// (B, C, H, W) -> (B, C', floor(H / 2), floor(W / 2)). Key `expand`, where there is one.
class HalvedMapImpl : public torch::nn::Module, public Windowed {
 public:
  HalvedMapImpl(int64_t channels, int64_t out_channels);
  at::Tensor forward(const at::Tensor& x);
  Window window(const at::Tensor&, int) const override { return {2, 2, 1}; }

 private:
  Conv2d expand_{nullptr};
};
TORCH_MODULE(HalvedMap);

struct CoAtNetOptions {
  int64_t in_channels = 0, out_channels = 0;
  /// 1, where channels stay, or 2, where the map is halved.
  int64_t stride = 1;
  double drop_path = 0.0;
};

/// Inverted bottleneck, norm first.
///   out = shortcut(x) +
///   conv3_1x1(act(norm2(se(conv2_kxk(act(norm1(conv1_1x1(halved(act(pre_norm(x)))))))))))
/// (B, C, H, W) -> (B, C', H / stride, W / stride); 4 C channels between, a depthwise 3x3, SiLU. Throws
/// fovea::Error (usage) unless stride is 1, with equal channels, or 2.   Source: Dai et al. 2021, 2.1 and
/// appendix A.1; MBConv: Sandler et al. 2018.
class MbConvImpl : public UnaryModule {
 public:
  explicit MbConvImpl(const CoAtNetOptions& options);
  at::Tensor forward(const at::Tensor& x) override;

 private:
  HalvedMap shortcut_{nullptr}, down_{nullptr};
  BatchNorm2d pre_norm_{nullptr}, norm1_{nullptr}, norm2_{nullptr};
  Conv2d conv1_{nullptr}, conv2_{nullptr}, conv3_{nullptr};
  SqueezeExcite se_{nullptr};
  DropPath drop_path_{nullptr};
};
TORCH_MODULE(MbConv);

struct RelativeAttentionOptions {
  int64_t in_channels = 0, out_channels = 0;
  /// Divides in_channels.
  int64_t head_dim = 32;
  /// Of the maps that it will see.
  GridPositions grid;
  /// Any mechanism that takes biases, as parse_attention() reads it.
  std::string attention = "softmax";
};

/// Attention over a map that also knows how far apart two places are: the same number wherever they lie.
///   out = proj(attention(q, k, v)), s_ij = q_i . k_j / sqrt(head_dim) + w_(i - j)
/// (B, C, rows, columns) -> (B, C', rows, columns). Keys `qkv` (1x1; each head's q, k, v in turn), `proj`
/// (1x1), `rel_pos.relative_position_bias_table` ((2 rows - 1)(2 columns - 1), heads), and the mechanism's
/// own under `attention`. Throws fovea::Error (usage) if heads do not divide the channels, and on a map of
/// another grid.   Source: Dai et al. 2021, 2.1, equation 3 (pre-normalisation).
class RelativeAttentionImpl : public UnaryModule, public Costed, public SeesAll {
 public:
  explicit RelativeAttentionImpl(const RelativeAttentionOptions& options);
  at::Tensor forward(const at::Tensor& x) override;
  /// The mechanism's.
  int64_t multiply_adds(const at::Tensor& input, const at::Tensor& output) const override;

  std::shared_ptr<Attention> attention;

 private:
  RelativeAttentionOptions options_;
  Conv2d qkv_{nullptr}, proj_{nullptr};
  at::Tensor table_;
};
TORCH_MODULE(RelativeAttention);

/// Relative attention, then an MLP of 1x1 convolutions, 4 times as wide, norms first.
///   y = shortcut(x) + attn(halved(norm1(x)))   out = y + mlp(norm2(y))
/// (B, C, H, W) -> (B, C', rows, columns), the grid that `attention` has; its channels and `options` agree.
/// Keys `norm1` (`norm1.norm` with stride 2), `attn`, `norm2`, `mlp.fc1`, `mlp.fc2`, `shortcut`. Errors as
/// those of MbConv and RelativeAttention.   Source: Dai et al. 2021, 2.1 and appendix A.1.
class CoAtNetTransformerImpl : public UnaryModule {
 public:
  CoAtNetTransformerImpl(const CoAtNetOptions& options, RelativeAttentionOptions attention);
  at::Tensor forward(const at::Tensor& x) override;

 private:
  HalvedMap shortcut_{nullptr}, down_{nullptr};
  LayerNorm norm1_{nullptr}, norm2_{nullptr};
  RelativeAttention attn_{nullptr};
  Conv2d fc1_{nullptr}, fc2_{nullptr};
  GELU act_{nullptr};
  DropPath drop_path1_{nullptr}, drop_path2_{nullptr};
};
TORCH_MODULE(CoAtNetTransformer);

}  // namespace fovea::nn
