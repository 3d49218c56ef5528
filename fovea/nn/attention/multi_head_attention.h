#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "fovea/nn/attention/attention.h"
#include "fovea/nn/layers.h"
#include "fovea/nn/position/position.h"

namespace fovea::nn {

struct MultiHeadAttentionOptions {
  /// Width of queries and output; num_heads must divide it.
  int64_t embed_dim = 0, num_heads = 8;
  /// Heads of keys and values, each shared by num_heads / num_kv_heads heads of queries; 0: num_heads. 1 is
  /// multi-query attention.
  int64_t num_kv_heads = 0;
  /// Widths of keys and values; 0: embed_dim.
  int64_t kdim = 0, vdim = 0;
  bool bias = true;
  /// Probability that a weight is dropped in training, in the place of the call's; 0: the call's.
  double dropout = 0.0;
  /// As parse_attention() reads it.
  std::string attention = "softmax";
  /// Where the rows lie, for mechanisms that need to know.
  std::optional<GridPositions> grid = {};
  /// A scheme that acts in a layer, as parse_position() reads it. It is for keys of the queries' sequence.
  std::string position = "none";
};

/// Multi-head attention with projections of their own for queries, keys and values.
///   out = out_proj(concat_h attention(W_q q, W_k k, W_v v)_h)
/// query (B, N, embed_dim), key (B, M, kdim), value (B, M, vdim) -> (B, N, embed_dim). Keys and
/// initialisation of Python's torch.nn.MultiheadAttention: `in_proj_weight` (3 embed_dim, embed_dim), or
/// `q_proj_weight`, `k_proj_weight`, `v_proj_weight` where widths or heads differ; `in_proj_bias`,
/// `out_proj`; and `attention` and `position`, whose parameters are the mechanism's and the scheme's. A row
/// that may see no key gives what 0 projects to, where torch gives NaN. Throws fovea::Error (usage) on sizes
/// that do not divide, and on a mechanism or scheme that is unknown, needs a mask of blocks, or places in a
/// grid that is not given. O((N + M) embed_dim^2) time beside the mechanism's.   Source: Vaswani et al.
/// 2017, 3.2.2; grouped queries: Ainslie et al. 2023, GQA, 2.2; multi-query: Shazeer 2019, Fast transformer
/// decoding, 3.
class MultiHeadAttentionImpl : public torch::nn::Module, public Costed, public SeesAll {
 public:
  explicit MultiHeadAttentionImpl(const MultiHeadAttentionOptions& options);

  /// Weights and observations as `call` asks for them, (B, num_heads, ...). Keys that are another tensor than
  /// queries are those of another sequence. Errors as Attention::forward().
  AttentionOutput forward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                          const AttentionCall& call = {});
  /// Of the last call: projections, but for out_proj's, and the mechanism's.
  int64_t multiply_adds(const at::Tensor& input, const at::Tensor& output) const override;

  at::Tensor in_proj_weight, q_proj_weight, k_proj_weight, v_proj_weight, in_proj_bias;
  Linear out_proj{nullptr};
  std::shared_ptr<Attention> attention;
  std::shared_ptr<Position> position;

 private:
  void register_projections();
  void check_rows(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) const;
  int64_t head_dim() const { return options_.embed_dim / options_.num_heads; }
  int64_t kv_width() const { return options_.num_kv_heads * head_dim(); }

  MultiHeadAttentionOptions options_;
  /// M of the last call, which a listener is not told.
  std::atomic<int64_t> keys_ = 0;
};
TORCH_MODULE(MultiHeadAttention);

}  // namespace fovea::nn
