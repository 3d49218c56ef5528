#pragma once
#include "fovea/nn/attention/span.h"

namespace fovea::nn {

struct AdaptiveSpanOptions : SpanOptions {
  template <class Visitor>
  static void fields(AdaptiveSpanOptions& o, Visitor&& visit) {
    SpanOptions::fields(o, visit);
    visit_causal(o, visit);
  }
};

/// Each head learns how far it sees: z_h = S clamp(current_val_h, 0, 1), see SpanAttention.
/// Parameter `current_val` (H, 1, 1), as in the authors' code, which clamps it after each step of training:
/// here, beyond [0, 1] it gets the gradients that lead back alone. z = S with S + R >=
/// N + R shows every key: softmax. Keys beyond the largest z + R of a head cost nothing.
/// Source: Adaptive attention span in transformers (Sukhbaatar et al. 2019), section 2.2.
class AdaptiveSpanAttention : public SpanAttention {
 public:
  AdaptiveSpanAttention(AttentionKind kind, const AttentionShape& shape, const AdaptiveSpanOptions& options);

  /// (1, H, 1); x is not read.
  at::Tensor spans(const at::Tensor& x = {}) const override;

  at::Tensor current_val;

 protected:
  int64_t pairs(int64_t n, int64_t m) const override;
};

AttentionEntry adaptive_span_attention();

}  // namespace fovea::nn
