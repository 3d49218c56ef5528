#pragma once
#include "fovea/nn/attention/self_attention.h"
#include "fovea/nn/block/drop_path.h"
#include "fovea/nn/block/mlp.h"

namespace fovea::nn {

struct TransformerBlockOptions {
  SelfAttentionOptions attention;
  /// Hidden width of the MLP over the width.
  double mlp_ratio = 4.0;
  double drop_path = 0.0;
  double norm_eps = 1e-6;
};

/// Pre-norm transformer block.   y = x + attn(norm1(x)), out = y + mlp(norm2(y)), each branch under DropPath
/// x (B, N, dim) -> (B, N, dim). Keys `norm1`, `attn`, `norm2`, `mlp` (timm's).
/// Source: Dosovitskiy et al. 2021, An image is worth 16x16 words, equations 2 and 3.
class TransformerBlockImpl : public torch::nn::Module {
 public:
  explicit TransformerBlockImpl(const TransformerBlockOptions& options);
  at::Tensor forward(const at::Tensor& x);

  LayerNorm norm1{nullptr}, norm2{nullptr};
  SelfAttention attn{nullptr};
  Mlp mlp{nullptr};
  DropPath drop_path1{nullptr}, drop_path2{nullptr};
};
TORCH_MODULE(TransformerBlock);

}  // namespace fovea::nn
