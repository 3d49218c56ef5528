#include "fovea/nn/attention/double.h"

#include "fovea/nn/attention/efficient.h"

namespace fovea::nn {

AttentionEntry double_attention() {
  return efficient_entry({"double", "out_i = sum_d softmax_d(q_id) g_d, g_d = sum_j softmax_j(k_jd) v_j",
                          "Chen et al. 2018, A2-Nets: Double attention networks, 3.1 and 3.2",
                          "O((N + M) D^2) time, O((N + M) D) memory", "chunked"});
}

}  // namespace fovea::nn
