#include "fovea/nn/attention/kernel_map.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <string>
#include <utility>

#include "fovea/ops/hidden_keys.h"
#include "fovea/ops/operands.h"

namespace fovea::nn {

KernelMapAttention::KernelMapAttention(AttentionKind kind, const AttentionShape& shape,
                                       CausalAlignment causal)
    : Attention(std::move(kind), shape), causal_(causal) {}

AttentionOutput KernelMapAttention::run(const AttentionInput& input) {
  const AttentionCall& call = input.call;
  LinearAttendOptions options;
  options.causal = joined_causal(causal_, call.causal);
  options.key_mask = call.mask;
  options.key_lengths = call.key_lengths;
  options.normalised = normalised();
  options.weights = call.weights;
  check_linear_attend(input.q, input.k, input.v, options, mechanism().c_str());
  // Autocast would round the features.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const auto type = input.v.scalar_type();
  const LinearAttendResult result = attend(input.q, input.k, input.v, options);
  AttentionOutput out;
  out.out = result.out.to(type);
  if (call.weights) out.weights = result.weights.to(type);
  return out;
}

LinearAttendResult KernelMapAttention::attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                              const LinearAttendOptions& options) const {
  const at::Tensor hidden = hidden_keys(options, k);
  const at::Tensor queries = query_features(widened(q));
  const KeyFeatures keys = key_features(without_keys(widened(k), hidden), hidden, {});
  return linear_attend(queries, keys.map, widened(v), options);
}

at::Tensor KernelMapAttention::step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    LinearState& state) {
  AttentionInput input;
  input.q = q, input.k = k, input.v = v;
  input.call.causal = CausalAlignment::top_left;
  check(input);
  joined_causal(causal_, input.call.causal);
  check_linear_attend(q, k, v, {}, mechanism().c_str());
  // Of no key there is no largest feature, that later ones could be compared with.
  if (q.size(2) == 0 && k.size(2) == 0) return v.new_empty({q.size(0), q.size(1), 0, v.size(3)});
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const KeyFeatures keys = key_features(widened(k), {}, state.log_scale);
  at::Tensor sums = state.sums;
  if (state.log_scale.defined()) sums = sums * at::exp(state.log_scale - keys.log_scale);
  const at::Tensor out = linear_attend_step(query_features(widened(q)), keys.map, widened(v), sums);
  state = {sums, keys.log_scale};
  return out.to(v.scalar_type());
}

// Values with a column of ones, and their sums, stand beside operands and result where weights are divided.
AttentionCost KernelMapAttention::cost(int64_t n, int64_t m, int64_t d) const {
  const int64_t r = features(d), sums = normalised() ? d + 1 : d, beside = normalised() ? d + 1 : 0;
  return {(n + m) * (r * sums + feature_products(d)), ((n + m) * (r + beside) + r * sums) * kFloatBytes};
}

}  // namespace fovea::nn
