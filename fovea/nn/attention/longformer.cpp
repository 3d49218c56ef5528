#include "fovea/nn/attention/longformer.h"

#include "fovea/nn/attention/engine.h"

namespace fovea::nn {

AttentionEntry longformer_attention() {
  DotOptions options;
  options.window = 256;
  options.global = 1;
  return attention_entry<EngineAttention>(
      {"longformer", "softmax over |i - j| <= window, or one of both before global",
       "Beltagy et al. 2020, 3.1", "O(N W D) time, W keys a query, O(N + M) memory", "fused"},
      {}, options);
}

}  // namespace fovea::nn
