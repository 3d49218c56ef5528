#include "fovea/nn/attention/local_p.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "fovea/nn/attention/alibi.h"
#include "fovea/nn/attention/attend_along.h"
#include "fovea/ops/attend_checks.h"
#include "fovea/ops/centre_functors.h"
#include "fovea/ops/operands.h"

namespace fovea::nn {

LocalPAttention::LocalPAttention(AttentionKind kind, const AttentionShape& shape,
                                 const LocalPOptions& options)
    : EngineAttention(std::move(kind), shape, options), window_(options.reach) {
  const double width = std::sqrt(static_cast<double>(shape.head_dim));
  W_p = register_parameter("W_p", at::randn({shape.heads, shape.head_dim, shape.head_dim}) / width);
  v_p = register_parameter("v_p", at::randn({shape.heads, shape.head_dim}) / width);
}

at::Tensor LocalPAttention::centres(const AttentionInput& input) const {
  const at::Tensor q = widened(input.q);
  const auto type = q.scalar_type();
  const at::Tensor hidden = at::tanh(at::matmul(q, W_p.to(type).transpose(1, 2)));
  const at::Tensor place = at::sigmoid((hidden * v_p.to(type).unsqueeze(1)).sum(-1));
  const auto& lengths = input.call.key_lengths;
  if (!lengths) return place * input.k.size(2);
  return place * lengths->to(type).clamp(0, input.k.size(2)).view({-1, 1, 1});
}

AttendOptions LocalPAttention::beside_centres(const AttentionInput& input) const {
  AttendOptions options = options_of(input.call);
  options.lse = true;
  options.functors = nullptr;
  if (!this->options().alibi) return options;
  const at::Tensor own = alibi_slopes(shape().heads).to(input.q.device());
  options.alibi_slopes = options.alibi_slopes ? *options.alibi_slopes + own : own;
  return options;
}

// Weights of a query sum to exp(lse of scores with the Gaussian - lse without).
AttentionOutput LocalPAttention::around(const AttentionInput& input, const at::Tensor& centres,
                                        AttendOptions options, CentreOrder order) const {
  const auto window = static_cast<double>(window_);
  AttendOptions alone = options;
  alone.dropout_p = 0.0;
  alone.weights = false;
  alone.functors = near_centres(centres, window, order);
  const at::Tensor plain = attend(input.q, input.k, input.v.narrow(3, 0, 1), alone).lse;
  options.functors = around_centres(centres, window, window / 2.0, order);
  const AttendResult result = attend(input.q, input.k, input.v, options);
  const at::Tensor sees = at::isfinite(plain.detach());
  const at::Tensor ratio =
      at::where(sees, at::exp(at::where(sees, result.lse - plain, at::zeros_like(plain))),
                at::zeros_like(plain))
          .unsqueeze(3);
  AttentionOutput out;
  out.out = result.out * ratio.to(result.out.scalar_type());
  if (result.weights.defined()) out.weights = result.weights * ratio.to(result.weights.scalar_type());
  return out;
}

// Queries whose centres are neighbours see the same tiles of keys: they stand together where a query's own
// place says nothing.
AttentionOutput LocalPAttention::run(const AttentionInput& input) {
  const AttendOptions options = beside_centres(input);
  check_attend(input.q, input.k, input.v, options);  // refuses what does not fit before it is computed with
  const at::Tensor where = centres(input);
  if (options.causal != CausalAlignment::none || !says_nothing_of_pairs(options)) {
    return around(input, where, options, CentreOrder::any);
  }
  const auto [sorted, order] = where.sort(2);
  AttentionInput in_order = input;
  in_order.q = gathered_rows(input.q, order);
  return {gathered_rows(around(in_order, sorted, options, CentreOrder::rising).out,
                        order.argsort(/*dim=*/int64_t{2}, /*descending=*/false)),
          {},
          {}};
}

AttentionCost LocalPAttention::cost(int64_t n, int64_t m, int64_t d) const {
  const int64_t seen = n * std::min(2 * window_ + 1, m);
  // Queries in the order of their centres, results in it twice, and numbers of each query.
  return {2 * d * seen + n * d * (d + 1), (3 * n * d + 10 * n) * kFloatBytes};
}

AttentionEntry local_p_attention() {
  return attention_entry<LocalPAttention>(
      {"local_p",
       "out_i = sum_j softmax_j(s_ij) exp(-2 (j - p_i)^2 / window^2) v_j over |j - p_i| <= window, "
       "p_i = M sigmoid(v_p . tanh(W_p q_i))",
       "Luong et al. 2015, 3.2 (local-p)", "O(N W D + N D^2) time, O(N D) memory", "fused"},
      {.takes_relative_keys = true, .observes = false, .takes_packed = false}, LocalPOptions{});
}

}  // namespace fovea::nn
