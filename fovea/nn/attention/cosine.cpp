#include "fovea/nn/attention/cosine.h"

#include <ATen/ops/full.h>

#include <cmath>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/ops/describe.h"

namespace fovea::nn {

namespace {

// Of the paper.
constexpr double kLargestLearned = 100.0;

}  // namespace

void CosineOptions::check(const std::string& where) const {
  EngineOptions::check(where);
  if (learned && start > kLargestLearned) {
    throw usage_error(where, "scale must be at most " + describe_number(kLargestLearned) + " to learn",
                      describe_number(start), "Write learned=false for a larger one.");
  }
}

CosineAttention::CosineAttention(AttentionKind kind, const AttentionShape& shape,
                                 const CosineOptions& options)
    : EngineAttention(std::move(kind), shape, options), start_(options.start) {
  if (options.learned) {
    logit_scale = register_parameter("logit_scale", at::full({shape.heads, 1, 1}, std::log(start_)));
  }
}

void CosineAttention::prepare(AttentionInput&, AttendOptions& options) const {
  Cosine cosine{start_};
  if (logit_scale.defined()) cosine.scale = logit_scale.clamp_max(std::log(kLargestLearned)).exp().flatten();
  options.similarity = cosine;
}

AttentionCost CosineAttention::cost(int64_t n, int64_t m, int64_t d) const {
  AttentionCost cost = EngineAttention::cost(n, m, d);
  cost.bytes += (n + m) * d * kFloatBytes;
  return cost;
}

AttentionEntry cosine_attention() {
  return attention_entry<CosineAttention>(
      {"cosine", "out_i = sum_j softmax_j(scale_h q_i . k_j / (|q_i| |k_j|)) v_j",
       "Liu et al. 2022, Swin Transformer V2, 3.3", "O(N M D) time, O((N + M) D) memory", "decode, fused"},
      {}, CosineOptions{});
}

}  // namespace fovea::nn
