#include "fovea/nn/attention/gaussian.h"

#include <ATen/ops/full.h>

#include <cmath>
#include <utility>

namespace fovea::nn {

GaussianAttention::GaussianAttention(AttentionKind kind, const AttentionShape& shape,
                                     const GaussianOptions& options)
    : EngineAttention(std::move(kind), shape, options),
      width_(options.width.value_or(std::pow(static_cast<double>(shape.head_dim), 0.25))) {
  if (options.learned) log_width = register_parameter("log_width", at::full({shape.heads}, std::log(width_)));
}

void GaussianAttention::prepare(AttentionInput&, AttendOptions& options) const {
  Gaussian gaussian{width_};
  if (log_width.defined()) gaussian.width = log_width.exp();
  options.similarity = gaussian;
}

AttentionEntry gaussian_attention() {
  return attention_entry<GaussianAttention>(
      {"gaussian", "out_i = sum_j softmax_j(-|q_i - k_j|^2 / (2 width_h^2)) v_j",
       "Nadaraya 1964; Watson 1964", "O(N M D) time, O(N + M) memory", "decode, fused"},
      {}, GaussianOptions{});
}

}  // namespace fovea::nn
