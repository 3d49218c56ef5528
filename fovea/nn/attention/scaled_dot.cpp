#include "fovea/nn/attention/scaled_dot.h"

#include "fovea/nn/attention/engine.h"

namespace fovea::nn {
namespace {

constexpr const char *kDotCost = "O(N M D) time, O(N + M) memory", *kDotPath = "decode, fused";

}  // namespace

AttentionEntry softmax_attention() {
  return attention_entry<EngineAttention>(
      {"softmax", "out_i = sum_j softmax_j(q_i . k_j / sqrt(D)) v_j",
       "Vaswani et al. 2017, Attention is all you need, 3.2.1", kDotCost, kDotPath},
      {.exact = true, .takes_relative_keys = true}, DotOptions{});
}

AttentionEntry dot_attention() {
  DotOptions options;
  options.scale = 1.0;
  return attention_entry<EngineAttention>(
      {"dot", "out_i = sum_j softmax_j(q_i . k_j) v_j", "Luong et al. 2015, Effective approaches, 3.1",
       kDotCost, kDotPath},
      {.takes_relative_keys = true}, options);
}

}  // namespace fovea::nn
