#pragma once
#include "fovea/nn/attention/span.h"

namespace fovea::nn {

struct TokenSpanOptions : PredictedSpanOptions {
  template <class Visitor>
  static void fields(TokenSpanOptions& o, Visitor&& visit) {
    SpanOptions::fields(o, visit);
    visit_causal(o, visit);
  }
};

/// Each row says how far its query sees: z_t = S sigmoid(v_h . x_t + b_h), see SpanAttention.
/// The layer `span_predictor` (E -> H) holds v, 0 at the start, and b.
/// Tiles whose queries all stop before their keys are left out.
/// Source: Adaptive attention span in transformers (Sukhbaatar et al. 2019), section 2.2, dynamic span.
class TokenSpanAttention : public SpanAttention {
 public:
  TokenSpanAttention(AttentionKind kind, const AttentionShape& shape, const TokenSpanOptions& options);

  /// (B, H, N)
  at::Tensor spans(const at::Tensor& x) const override;

  Linear span_predictor{nullptr};
};

AttentionEntry token_span_attention();

}  // namespace fovea::nn
