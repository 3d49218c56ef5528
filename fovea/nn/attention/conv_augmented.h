#pragma once
#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"
#include "fovea/nn/attention/lines.h"

namespace fovea::nn {

/// The attention of attention-augmented convolution: a key is known by how many columns and rows it is away.
///   s_ij = q_i . (k_j + r^W_(x_j - x_i) + r^H_(y_j - y_i)) / sqrt(D)
/// Parameters `key_rel_w` (2 columns - 1, D) and `key_rel_h` (2 rows - 1, D), shared by the heads, normal of
/// deviation 1 / sqrt(D). Tokens before the grid have no distance. Needs the grid when it is built, and
/// throws fovea::Error (usage) where a call's is another. The two sums of a query with what is added to keys
/// stand behind it as rows + columns more channels, of which a key picks its own two by ones: no score is
/// ever in memory.   O(N^2 (D + rows + columns)) time, O(N (D + rows + columns)) memory. Source: Attention
/// Augmented Convolutional Networks (Bello et al. 2019), 3.2, equation 5.
class ConvAugmentedAttention : public EngineAttention {
 public:
  ConvAugmentedAttention(AttentionKind kind, const AttentionShape& shape, const EngineOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

  at::Tensor key_rel_w, key_rel_h;

 protected:
  void prepare(AttentionInput& input, AttendOptions& options) const override;

 private:
  at::Tensor relative(const at::Tensor& q, GridAxis axis) const;

  GridPositions grid_;
};

AttentionEntry conv_augmented_attention();

}  // namespace fovea::nn
