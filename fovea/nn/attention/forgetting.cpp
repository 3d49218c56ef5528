#include "fovea/nn/attention/forgetting.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/softplus.h>

#include <memory>
#include <utility>

#include "fovea/ops/dense_functors.h"
#include "fovea/ops/operands.h"

namespace fovea::nn {
namespace {

// log sigmoid(x), which has shapes on the meta device too, other than torch's own.
at::Tensor logs_of_gates(const at::Tensor& x) {
  // Where 1 + the exponential is the exponential.
  constexpr double kLinearFrom = 40.0;
  return -at::softplus(-x, 1.0, kLinearFrom);
}

}  // namespace

ForgettingAttention::ForgettingAttention(AttentionKind kind, const AttentionShape& shape,
                                         const ForgettingOptions& options)
    : EngineAttention(std::move(kind), shape, options) {
  f_proj = register_module("f_proj", Linear(shape.width, shape.heads));
}

void ForgettingAttention::prepare(AttentionInput& input, AttendOptions& options) const {
  const at::Tensor log_f =
      logs_of_gates(at::linear(widened(input.x), widened(f_proj->weight), widened(f_proj->bias)));
  const at::Tensor sums = at::cumsum(log_f.transpose(1, 2), /*dim=*/2, at::kDouble);
  options.functors = std::make_shared<DifferenceBiasFunctors>(sums);
}

AttentionCost ForgettingAttention::cost(int64_t n, int64_t m, int64_t d) const {
  AttentionCost cost = EngineAttention::cost(n, m, d);
  cost.multiply_adds += n * shape().width;
  // Sums as they are taken and as the kernel reads them.
  cost.bytes += 2 * n * static_cast<int64_t>(sizeof(double));
  return cost;
}

AttentionEntry forgetting_attention() {
  return attention_entry<ForgettingAttention>(
      {"forgetting",
       "out_i = sum_{j <= i} softmax_j(s_ij + sum_{l = j+1 ... i} log f_l) v_j, f_t = sigmoid(w_h . x_t + "
       "b_h)",
       "Lin et al. 2025, Forgetting Transformer, section 3", "O(N^2 D) time, O(N) memory", "fused"},
      {.supports_cross = false, .needs_x = true, .takes_packed = false}, ForgettingOptions{});
}

}  // namespace fovea::nn
