#include "fovea/nn/attention/double.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <limits>

#include "fovea/nn/attention/hidden_keys.h"
#include "fovea/ops/operands.h"

namespace fovea::nn {

AttentionOutput DoubleAttention::run(const AttentionInput& input) {
  // Sums over all positions want the precision that autocast would take from them.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const at::Tensor hidden = hidden_keys(mechanism(), input);
  const at::Tensor scores = filled(widened(input.k), hidden, -std::numeric_limits<double>::infinity());
  // Where every key is hidden, their softmax is NaN, and no longer that behind the fill.
  const at::Tensor gather = filled(at::softmax(scores, 2), hidden, 0.0);
  const at::Tensor descriptors = at::matmul(gather.transpose(2, 3), filled(widened(input.v), hidden, 0.0));
  const at::Tensor distribute = at::softmax(widened(input.q), 3);
  return {at::matmul(distribute, with_heads(descriptors, input.q.size(1))).to(input.v.scalar_type()), {}, {}};
}

AttentionCost DoubleAttention::cost(int64_t n, int64_t m, int64_t d) const {
  return {(n + m) * d * d, ((n + m) * d + d * d) * static_cast<int64_t>(sizeof(float))};
}

AttentionEntry double_attention() {
  return attention_entry<DoubleAttention>(
      {"double", "out_i = sum_d softmax_d(q_id) g_d, g_d = sum_j softmax_j(k_jd) v_j",
       "Chen et al. 2018, A2-Nets: Double attention networks, 3.1 and 3.2",
       "O((N + M) D^2) time, O((N + M) D) memory", "composed"},
      {.causal_ok = false,
       .takes_masks = false,
       .takes_biases = false,
       .takes_lengths = true,
       .gives_weights = false,
       .observes = false,
       .takes_packed = false},
      DoubleOptions{});
}

}  // namespace fovea::nn
