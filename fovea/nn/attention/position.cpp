#include "fovea/nn/attention/position.h"

#include "fovea/nn/attention/engine.h"

namespace fovea::nn {

AttentionEntry position_attention() {
  DotOptions options;
  options.scale = 1.0;
  return attention_entry<EngineAttention>(
      {"position", "out_i = sum_j softmax_j(q_i . k_j) v_j over positions",
       "Fu et al. 2019, Dual attention network for scene segmentation, 3.2", "O(N M D) time, O(N + M) memory",
       "decode, fused"},
      {}, options);
}

}  // namespace fovea::nn
