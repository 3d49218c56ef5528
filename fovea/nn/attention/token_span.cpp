#include "fovea/nn/attention/token_span.h"

#include <utility>

namespace fovea::nn {

TokenSpanAttention::TokenSpanAttention(AttentionKind kind, const AttentionShape& shape,
                                       const TokenSpanOptions& options)
    : SpanAttention(std::move(kind), shape, options, SpanOf::query) {
  span_predictor = register_module("span_predictor", predictor(shape.heads, options.init));
}

at::Tensor TokenSpanAttention::spans(const at::Tensor& x) const { return predicted(span_predictor, x); }

AttentionEntry token_span_attention() {
  return attention_entry<TokenSpanAttention>(
      {"token_span",
       "softmax_j(s_ij) m_ij, summed to 1 again, m_ij = clamp((R + z_i - |i - j|) / R, 0, 1), "
       "z_t = S sigmoid(v_h . x_t + b_h)",
       "Sukhbaatar et al. 2019, Adaptive attention span in transformers, 2.2",
       "O(N W D) time, W = z + R keys a query, O(N + M) memory", "fused"},
      {.supports_cross = false, .needs_x = true, .takes_packed = false}, TokenSpanOptions{});
}

}  // namespace fovea::nn
