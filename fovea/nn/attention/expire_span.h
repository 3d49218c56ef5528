#pragma once
#include "fovea/nn/attention/span.h"

namespace fovea::nn {

struct ExpireSpanOptions : PredictedSpanOptions {
  ExpireSpanOptions() {
    causal = CausalAlignment::top_left;
    init = 0.1;
  }
  template <class Visitor>
  static void fields(ExpireSpanOptions& o, Visitor&& visit) {
    SpanOptions::fields(o, visit);
  }
};

/// Each row says how long it is remembered: e_j = S sigmoid(w . h_j + b), of all heads.
///   m_ij = clamp(1 + (e_j - (i - j)) / R, 0, 1),   out_i = sum_{j <= i} m_ij exp(s_ij) v_j / sum_l m_il
///   exp(s_il)
/// Always in causal order. The layer `span_predictor` (E -> 1), as in the authors' code, holds w, 0 at the
/// start, and b. Tiles of expired keys are left out; ExpireMemory drops
/// them, step by step.   Source: Not all memories are created equal (Sukhbaatar et al. 2021), section 4.
class ExpireSpanAttention : public SpanAttention {
 public:
  ExpireSpanAttention(AttentionKind kind, const AttentionShape& shape, const ExpireSpanOptions& options);

  /// (B, 1, M)
  at::Tensor spans(const at::Tensor& x) const override;

  Linear span_predictor{nullptr};
};

AttentionEntry expire_span_attention();

}  // namespace fovea::nn
