#include "fovea/nn/attention/expire_span.h"

#include <utility>

namespace fovea::nn {

ExpireSpanAttention::ExpireSpanAttention(AttentionKind kind, const AttentionShape& shape,
                                         const ExpireSpanOptions& options)
    : SpanAttention(std::move(kind), shape, options, SpanOf::key) {
  span_predictor = register_module("span_predictor", predictor(1, options.init));
}

at::Tensor ExpireSpanAttention::spans(const at::Tensor& x) const { return predicted(span_predictor, x); }

AttentionEntry expire_span_attention() {
  return attention_entry<ExpireSpanAttention>(
      {"expire_span",
       "softmax_j(s_ij) m_ij over j <= i, summed to 1 again, m_ij = clamp(1 + (e_j - (i - j)) / R, 0, 1), "
       "e_j = S sigmoid(w . x_j + b)",
       "Sukhbaatar et al. 2021, Not all memories are created equal, section 4",
       "O(N W D) time, W keys that live, O(N + M) memory", "fused"},
      {.supports_cross = false, .needs_x = true, .takes_packed = false}, ExpireSpanOptions{});
}

}  // namespace fovea::nn
