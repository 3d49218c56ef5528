#include "fovea/nn/attention/span.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/sigmoid.h>

#include <cmath>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/ops/operands.h"

namespace fovea::nn {

void SpanOptions::check(const std::string& where) const {
  EngineOptions::check(where);
  if (init > 1.0) {
    throw usage_error(where, "init must be a part of span, at most 1", shown(init),
                      "It is where spans start.");
  }
}

void PredictedSpanOptions::check(const std::string& where) const {
  SpanOptions::check(where);
  if (init >= 1.0) {
    throw usage_error(where, "init must be below 1, which no sigmoid reaches", shown(init),
                      "It is where spans start.");
  }
}

SpanAttention::SpanAttention(AttentionKind kind, const AttentionShape& shape, const SpanOptions& options,
                             SpanOf of)
    : EngineAttention(std::move(kind), shape, options),
      span_(options.span),
      ramp_(options.ramp),
      of_(of),
      penalty_(options.penalty) {}

AttentionOutput SpanAttention::run(const AttentionInput& input) {
  if (penalty_ && is_training()) owe(span_loss(input.x) * (*penalty_ / static_cast<double>(span_)));
  return EngineAttention::run(input);
}

void SpanAttention::prepare(AttentionInput& input, AttendOptions& options) const {
  options.functors = soft_span(spans(input.x), of_, static_cast<double>(ramp_));
}

Linear SpanAttention::predictor(int64_t spans, double init) const {
  Linear layer(shape().width, spans);
  const at::NoGradGuard no_grad;
  layer->weight.zero_();
  layer->bias.fill_(std::log(init / (1.0 - init)));
  return layer;
}

at::Tensor SpanAttention::predicted(const Linear& layer, const at::Tensor& x) const {
  const at::Tensor logits = at::linear(widened(x), widened(layer->weight), widened(layer->bias));
  return (at::sigmoid(logits) * span_).transpose(1, 2);
}

int64_t SpanAttention::pairs_within(double reach, int64_t n, int64_t m) const {
  const auto far = static_cast<int64_t>(std::ceil(reach)) - 1;
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t low = std::max<int64_t>(i - far, 0),
                  last = options().causal == CausalAlignment::none ? i + far : std::min(i, i + far);
    count += std::max<int64_t>(std::min(last, m - 1) - low + 1, 0);
  }
  return count;
}

// Spans that rows predict are known with them alone: the longest.
int64_t SpanAttention::pairs(int64_t n, int64_t m) const {
  return pairs_within(static_cast<double>(span_ + ramp_), n, m);
}

AttentionCost SpanAttention::cost(int64_t n, int64_t m, int64_t d) const {
  AttentionCost cost = EngineAttention::cost(n, m, d);
  if (!traits().needs_x) return cost;
  cost.multiply_adds += n * shape().width;
  // Spans as they are predicted and as the kernel reads them.
  cost.bytes += 3 * n * kFloatBytes;
  return cost;
}

}  // namespace fovea::nn
