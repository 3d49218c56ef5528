#include "fovea/nn/attention/adaptive_span.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>

#include <utility>

#include "fovea/ops/operands.h"

namespace fovea::nn {
namespace {

// Without the gradients that lead further out of [0, 1], from where a span would not be back for many steps.
at::Tensor held(const at::Tensor& value) {
  const at::Tensor clamped = value + (value.clamp(0.0, 1.0) - value).detach();
  if (!clamped.requires_grad()) return clamped;
  const at::Tensor below = value.detach()<0.0, above = value.detach()> 1.0;
  clamped.register_hook([below, above](const at::Tensor& grad) {
    return grad.masked_fill((below & (grad > 0.0)) | (above & (grad < 0.0)), 0.0);
  });
  return clamped;
}

}  // namespace

AdaptiveSpanAttention::AdaptiveSpanAttention(AttentionKind kind, const AttentionShape& shape,
                                             const AdaptiveSpanOptions& options)
    : SpanAttention(std::move(kind), shape, options, SpanOf::query) {
  current_val = register_parameter("current_val", at::full({shape.heads, 1, 1}, options.init));
}

// bfloat16 would round spans to whole positions.
at::Tensor AdaptiveSpanAttention::spans(const at::Tensor&) const {
  return (held(widened(current_val)) * span_).view({1, -1, 1});
}

// The mean of the heads.
int64_t AdaptiveSpanAttention::pairs(int64_t n, int64_t m) const {
  if (current_val.is_meta()) return SpanAttention::pairs(n, m);
  const at::Tensor reach = (spans().detach() + ramp_).to(at::kCPU, at::kDouble).contiguous();
  int64_t count = 0;
  for (int64_t h = 0; h < shape().heads; ++h) {
    count += pairs_within(reach.const_data_ptr<double>()[h], n, m);
  }
  return count / shape().heads;
}

AttentionEntry adaptive_span_attention() {
  return attention_entry<AdaptiveSpanAttention>(
      {"adaptive_span",
       "softmax_j(s_ij) m_ij, summed to 1 again, m_ij = clamp((R + z_h - |i - j|) / R, 0, 1), z_h learned",
       "Sukhbaatar et al. 2019, Adaptive attention span in transformers, 2.2",
       "O(N W D) time, W = z_h + R keys a query, O(N + M) memory", "decode, fused"},
      {.supports_cross = false, .takes_packed = false}, AdaptiveSpanOptions{});
}

}  // namespace fovea::nn
