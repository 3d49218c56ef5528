#pragma once
#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

/// Scores by a small network.   s_ij = sum_e w_e tanh(q_ie + k_je), by additive_attend()
/// Parameter `w` (H, D), normal of deviation 1 / sqrt(D). Bahdanau's W_q, W_k and their bias are the host's
/// projections of q and k. As many heads of keys as of queries; no observation but weights.
/// Source: Bahdanau et al. 2015, A.1.2.
class AdditiveAttention : public EngineAttention {
 public:
  AdditiveAttention(AttentionKind kind, const AttentionShape& shape, EngineOptions options);

  at::Tensor w;

 protected:
  AttendResult attend_with(const AttentionInput& input, const AttendOptions& options) const override;
  AttendChoice choice_with(const AttentionInput& input, const AttendOptions& options) const override;
};

AttentionEntry additive_attention();

}  // namespace fovea::nn
