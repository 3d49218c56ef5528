#include "fovea/nn/attention/local.h"

#include "fovea/nn/attention/engine.h"

namespace fovea::nn {

AttentionEntry local_attention() {
  DotOptions options;
  options.window = 10;
  return attention_entry<EngineAttention>(
      {"local", "softmax over |i - j| <= window", "Luong et al. 2015, 3.2 (local-m)",
       "O(N W D) time, W keys a query, O(N + M) memory", "fused"},
      {.takes_relative_keys = true}, options);
}

}  // namespace fovea::nn
