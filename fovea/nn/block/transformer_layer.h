#pragma once
#include <optional>
#include <string>

#include "fovea/nn/attention/multi_head_attention.h"

namespace fovea::nn {

/// What the layers of a transformer have in common, with the names and defaults of Python's
/// torch.nn.Transformer. Rows are (B, T, d_model).
struct TransformerOptions {
  int64_t d_model = 512, nhead = 8, dim_feedforward = 2048;
  /// Of attention weights, of hidden units and of each branch's result.
  double dropout = 0.1;
  /// Of attention weights, in the place of `dropout`; 0 for mechanisms that form none.
  std::optional<double> attention_dropout = {};
  /// relu or gelu.
  std::string activation = "relu";
  /// Norms before each branch; otherwise after each sum.
  bool norm_first = false;
  double layer_norm_eps = 1e-5;
  bool bias = true;
  /// Mechanisms of a layer's own rows, and, in a decoder, over the encoder's.
  std::string attention = "softmax", cross_attention = "softmax";
  /// See MultiHeadAttentionOptions.
  int64_t num_kv_heads = 0;
  std::optional<GridPositions> grid = {};
  /// Of a layer's own rows, as parse_position() reads it; a layer by itself takes those that act in it.
  std::string position = "none";
};

/// A norm as these options say.
LayerNorm transformer_norm(const TransformerOptions& options);

/// What both layers do: residual branches, and the position-wise network linear2(act(linear1(x))).
class TransformerLayer : public torch::nn::Module {
 public:
  Linear linear1{nullptr}, linear2{nullptr};
  MultiHeadAttention self_attn{nullptr};

 protected:
  /// Throws fovea::Error (usage) on an activation that is neither relu nor gelu, and as MultiHeadAttention.
  explicit TransformerLayer(const TransformerOptions& options);

  MultiHeadAttention make_attention(const std::string& mechanism, const std::string& position) const;
  at::Tensor feed_forward(const at::Tensor& x);

  /// x + branch(norm(x)), or norm(x + branch(x)), the branch under dropout.
  template <class Branch>
  at::Tensor residual(const at::Tensor& x, LayerNorm& norm, const Branch& branch) {
    if (options_.norm_first) return x + dropout_->forward(branch(norm->forward(x)));
    return norm->forward(x + dropout_->forward(branch(x)));
  }

 private:
  TransformerOptions options_;
  Dropout dropout_{nullptr};
};

/// One layer of an encoder: attention among its rows, then the position-wise network.
/// x (B, T, d_model) -> same. Keys of torch.nn.TransformerEncoderLayer: `self_attn`, `linear1`, `linear2`,
/// `norm1`, `norm2`.   Source: Vaswani et al. 2017, 3.1; norm_first: Xiong et al. 2020, On layer
/// normalization in the transformer architecture, 3.
class TransformerEncoderLayerImpl : public TransformerLayer {
 public:
  explicit TransformerEncoderLayerImpl(const TransformerOptions& options = {});
  at::Tensor forward(const at::Tensor& x, const AttentionCall& call = {});

  LayerNorm norm1{nullptr}, norm2{nullptr};
};
TORCH_MODULE(TransformerEncoderLayer);

/// One layer of a decoder: attention among its rows, then over the encoder's, `memory`, then the
/// position-wise network. x (B, T, d_model), memory (B, S, d_model) -> as x. Keys of
/// torch.nn.TransformerDecoderLayer: `self_attn`, `multihead_attn`, `linear1`, `linear2`, `norm1`, `norm2`,
/// `norm3`.   Sources as above.
class TransformerDecoderLayerImpl : public TransformerLayer {
 public:
  explicit TransformerDecoderLayerImpl(const TransformerOptions& options = {});
  at::Tensor forward(const at::Tensor& x, const at::Tensor& memory, const AttentionCall& own = {},
                     const AttentionCall& cross = {});

  MultiHeadAttention multihead_attn{nullptr};
  LayerNorm norm1{nullptr}, norm2{nullptr}, norm3{nullptr};
};
TORCH_MODULE(TransformerDecoderLayer);

}  // namespace fovea::nn
