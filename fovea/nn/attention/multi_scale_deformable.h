#pragma once
#include <optional>
#include <vector>

#include "fovea/nn/layers.h"
#include "fovea/ops/deformable_attend.h"

namespace fovea::nn {

struct MultiScaleDeformableOptions {
  /// Heads divide d_model.
  int64_t d_model = 256, n_levels = 4, n_heads = 8, n_points = 4;
};

/// Deformable attention over the maps of a pyramid, with its projections.
///   out = output_proj(concat_h sum_lp a_hlp v_hl(reference + offset_hlp)),   a =
///   softmax_lp(attention_weights q), offset = sampling_offsets q, v = value_proj(input)
/// query (B, N, d_model); reference (B, N, L, 2) as (x, y) in 0 ... 1, or boxes (B, N, L, 4) as (x, y, width,
/// height); input (B, S, d_model), the maps behind each other; seen (B, S), true where there is a value; ->
/// (B, N, d_model). Keys of the authors' MSDeformAttn: `sampling_offsets`, `attention_weights`, `value_proj`,
/// `output_proj`. Throws fovea::Error (usage) on sizes that do not fit, references outside 0 ... 1, and as
/// deformable_attend(). O((N + S) d_model^2 + N L P d_model) time.   Source: Deformable DETR (Zhu et al.
/// 2021), 4.1, equation 3.
class MultiScaleDeformableAttentionImpl : public torch::nn::Module {
 public:
  explicit MultiScaleDeformableAttentionImpl(const MultiScaleDeformableOptions& options = {});

  at::Tensor forward(const at::Tensor& query, const at::Tensor& reference, const at::Tensor& input,
                     const std::vector<MapShape>& maps, const std::optional<at::Tensor>& seen = {});

  Linear sampling_offsets{nullptr}, attention_weights{nullptr}, value_proj{nullptr}, output_proj{nullptr};

 private:
  void check(const at::Tensor& query, const at::Tensor& reference, const at::Tensor& input,
             const std::optional<at::Tensor>& seen) const;

  MultiScaleDeformableOptions options_;
};
TORCH_MODULE(MultiScaleDeformableAttention);

}  // namespace fovea::nn
