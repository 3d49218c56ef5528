#pragma once
#include <memory>
#include <optional>
#include <string>

#include "fovea/nn/attention/attention.h"
#include "fovea/nn/layers.h"
#include "fovea/nn/position/position.h"

namespace fovea::nn {

struct SelfAttentionOptions {
  int64_t dim = 0;
  /// Must divide dim.
  int64_t num_heads = 8;
  bool qkv_bias = true;
  /// Probability that a weight, a number of the output is dropped.
  double attn_drop = 0.0, proj_drop = 0.0;
  /// As parse_attention() reads it.
  std::string attention = "softmax";
  /// Where the rows of x lie, for mechanisms that need to know.
  std::optional<GridPositions> grid = {};
  /// A scheme that acts in a layer, as parse_position() reads it.
  std::string position = "none";
};

/// Multi-head self-attention.   out = proj(concat_h attention(q_h, k_h, v_h)), (q, k, v) = qkv(x)
/// x (B, N, dim) -> (B, N, dim). Submodules `qkv` (dim -> 3 dim: q, k, v, each heads x head size) and `proj`,
/// as timm names them, and `attention` and `position`, whose parameters are the mechanism's and the scheme's.
/// Throws fovea::Error (usage) if the heads do not divide dim, and on a mechanism or scheme that is unknown,
/// needs a mask of blocks, or places in a grid that is not given. O(N dim^2) time beside the mechanism's.
/// Source: Vaswani et al. 2017, 3.2.2.
class SelfAttentionImpl : public torch::nn::Module, public Costed, public SeesAll {
 public:
  explicit SelfAttentionImpl(const SelfAttentionOptions& options);
  at::Tensor forward(const at::Tensor& x);
  /// What the mechanism is given, before the position scheme acts.   q, k, v (B, heads, N, dim / heads)
  AttentionInput project(const at::Tensor& x);
  /// The mechanism's.
  int64_t multiply_adds(const at::Tensor& input, const at::Tensor& output) const override;
  int64_t num_heads() const { return options_.num_heads; }

  Linear qkv{nullptr}, proj{nullptr};
  Dropout proj_drop{nullptr};
  std::shared_ptr<Attention> attention;
  std::shared_ptr<Position> position;

 private:
  SelfAttentionOptions options_;
};
TORCH_MODULE(SelfAttention);

}  // namespace fovea::nn
