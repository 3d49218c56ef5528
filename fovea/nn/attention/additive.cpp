#include "fovea/nn/attention/additive.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>

#include <cmath>
#include <utility>

#include "fovea/ops/additive_attend.h"

namespace fovea::nn {

AdditiveAttention::AdditiveAttention(AttentionKind kind, const AttentionShape& shape, EngineOptions options)
    : EngineAttention(std::move(kind), shape, std::move(options)) {
  if (shape.kv_heads != shape.heads) {
    refuse("it needs as many heads of keys as of queries",
           std::to_string(shape.kv_heads) + " and " + std::to_string(shape.heads),
           "Leave the heads of keys as they are.");
  }
  const double width = std::sqrt(static_cast<double>(shape.head_dim));
  w = register_parameter("w", at::randn({shape.heads, shape.head_dim}) / width);
}

AttendResult AdditiveAttention::attend_with(const AttentionInput& in, const AttendOptions& options) const {
  return additive_attend(in.q, in.k, in.v, w, options);
}

AttendChoice AdditiveAttention::choice_with(const AttentionInput& in, const AttendOptions& options) const {
  return additive_attend_choice(in.q, in.k, in.v, w, options);
}

AttentionEntry additive_attention() {
  return attention_entry<AdditiveAttention>(
      {"additive", "out_i = sum_j softmax_j(sum_e w_e tanh(q_ie + k_je)) v_j", "Bahdanau et al. 2015, A.1.2",
       "O(N M D) time, a tanh a pair and hidden unit, O(N + M) memory", "fused"},
      {.observes = false, .takes_packed = false}, ScoreFreeOptions{});
}

}  // namespace fovea::nn
