#include "fovea/ops/linear_attend.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <limits>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/ops/attend_checks.h"
#include "fovea/ops/choice.h"
#include "fovea/ops/describe.h"
#include "fovea/ops/elu_features.h"
#include "fovea/ops/finite.h"
#include "fovea/ops/hidden_keys.h"
#include "fovea/ops/linear_attend_chunked.h"
#include "fovea/ops/linear_attend_composed.h"
#include "fovea/ops/linear_attend_fused.h"
#include "fovea/ops/operands.h"

namespace fovea {
namespace {

// Features and values, of which no key is hidden but by causal order.
struct SummedOperands {
  at::Tensor q, k, v;
  CausalAlignment causal;
  bool normalised;
  /// (B, Hkv, R, E): of what came before these positions, where there is something.
  at::Tensor before = {};

  int64_t batch() const { return q.size(0); }
  int64_t queries() const { return q.size(2); }
  int64_t keys() const { return k.size(2); }
  int64_t kv_heads() const { return k.size(1); }
  int64_t group() const { return q.size(1) / k.size(1); }
  /// Query i sees keys j <= i + shift.
  int64_t shift() const { return causal_shift(causal, queries(), keys()); }
};

// With a column of ones where weights are to be divided by their sum: all that is summed.
at::Tensor summed_values(const SummedOperands& o) {
  if (!o.normalised) return o.v;
  return at::cat({o.v, at::ones({o.batch(), o.kv_heads(), o.keys(), 1}, o.v.options().requires_grad(false))},
                 3);
}

// (P, T, size) of heads that do not share what they are.
at::Tensor heads_joined(const at::Tensor& t) {
  return t.reshape({t.size(0) * t.size(1), t.size(2), t.size(3)});
}

// sum_j phi(k)_j v_j^T, (P, R, E)
at::Tensor key_sums(const SummedOperands& o) {
  const at::Tensor sums = at::bmm(heads_joined(o.k).transpose(1, 2), heads_joined(summed_values(o)));
  return o.before.defined() ? sums + heads_joined(o.before) : sums;
}

// (B, H, N, E). Queries whose heads share keys lie behind each other, position by position.
at::Tensor pair_sums(const SummedOperands& o) {
  const int64_t n = o.queries(), group = o.group();
  const at::Tensor q = o.q.reshape({o.batch() * o.kv_heads(), group, n, o.q.size(3)})
                           .transpose(1, 2)
                           .reshape({o.batch() * o.kv_heads(), n * group, o.q.size(3)});
  at::Tensor sums;
  if (n == 0 || o.shift() >= o.keys() - 1) {
    sums = at::bmm(q, key_sums(o));
  } else {
    sums = chunked_causal_sums(q, heads_joined(o.k), heads_joined(summed_values(o)), group, o.shift());
    if (o.before.defined()) sums = sums + at::bmm(q, heads_joined(o.before));
  }
  return sums.view({o.batch() * o.kv_heads(), n, group, sums.size(2)})
      .transpose(1, 2)
      .reshape({o.batch(), o.q.size(1), n, sums.size(2)});
}

at::Tensor spoilt_rows(const at::Tensor& t) { return at::isfinite(t).all(-1, true).bitwise_not(); }

// (B, H, N, Dv): where a query sees a number that is not finite.
at::Tensor spoilt_results(const SummedOperands& o) {
  const at::Tensor keys = at::isfinite(o.v).bitwise_not().bitwise_or(spoilt_rows(o.k));
  const at::Tensor none = at::zeros({o.batch(), o.kv_heads(), 1, o.v.size(3)}, keys.options());
  const at::Tensor up_to = at::cat({none, keys.cumsum(2) > 0}, 2);
  const at::Tensor last =
      (at::arange(o.queries(), keys.options().dtype(at::kLong)) + (o.shift() + 1)).clamp(0, o.keys());
  return with_heads(up_to.index_select(2, last), o.q.size(1)).bitwise_or(spoilt_rows(o.q));
}

at::Tensor results(const SummedOperands& o) {
  if (!o.before.defined() && !why_not_linear_fused(o.q, o.k, o.v, o.causal)) {
    return linear_attend_fused(o.q, o.k, o.v, o.causal, o.normalised, kernels::LinearFeatures::given);
  }
  const at::Tensor sums = pair_sums(o);
  if (!o.normalised) return sums;
  const auto parts = sums.split_with_sizes({sums.size(3) - 1, 1}, 3);
  return parts[0] / divisors(parts[1]);
}

// Products with 0 do not hide numbers that are not finite: then 0 stands in their place, and NaN in the
// results of queries that see them. Such a number shows in the result of the last query that sees it.
at::Tensor isolated_results(const SummedOperands& o) {
  const at::Tensor found = results(o);
  if (all_finite(found)) return found;
  SummedOperands finite = o;
  finite.q = finite_part(o.q), finite.k = finite_part(o.k), finite.v = finite_part(o.v);
  return results(finite).masked_fill(spoilt_results(o), std::numeric_limits<double>::quiet_NaN());
}

LinearAttendResult linear_attend_by_sums(const at::Tensor& phi_q, const at::Tensor& phi_k,
                                         const at::Tensor& v, const LinearAttendOptions& options) {
  const at::Tensor hidden = hidden_keys(options, phi_k);
  const SummedOperands operands{widened(phi_q), without_keys(widened(phi_k), hidden),
                                without_keys(widened(v), hidden), options.causal, options.normalised};
  return {isolated_results(operands).to(v.scalar_type()), {}};
}

Refusal why_no_sums(const LinearAttendOptions& options) {
  if (options.weights) return "the weights are asked for";
  return std::nullopt;
}

AttendChoice choice_of(const Refusal& not_fused, const Refusal& not_chunked) {
  if (!not_fused) return {"fused", {}};
  AttendChoice choice{"chunked", {"fused: " + std::string(*not_fused)}};
  if (!not_chunked) return choice;
  choice.refusals.push_back("chunked: " + std::string(*not_chunked));
  choice.name = "composed";
  return choice;
}

// Why sums cannot do it.
Refusal report(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
               const LinearAttendOptions& options) {
  const Refusal refusal = why_no_sums(options);
  if (reports_dispatch()) {
    const Refusal not_fused = refusal ? refusal : why_not_linear_fused(q, k, v, options.causal);
    report_choice("linear_attend", q, k, choice_of(not_fused, refusal));
  }
  return refusal;
}

// Keys whose features elu_features() makes 0.
at::Tensor without_features(const at::Tensor& k, const at::Tensor& hidden) {
  return hidden.defined() ? k.masked_fill(hidden, -std::numeric_limits<double>::infinity()) : k;
}

}  // namespace

void check_linear_attend(const at::Tensor& phi_q, const at::Tensor& phi_k, const at::Tensor& v,
                         const LinearAttendOptions& options, const char* where) {
  AttendOptions same;
  same.causal = options.causal;
  same.mask = options.key_mask;
  same.key_lengths = options.key_lengths;
  check_attend(phi_q, phi_k, v, same, where);
  if (!options.key_mask) return;
  const at::Tensor& mask = *options.key_mask;
  const bool of_pairs = mask.dim() > 1 && mask.size(-2) != 1;
  const bool of_queries = mask.dim() > 2 && mask.size(-3) != 1 && mask.size(-3) != phi_k.size(1);
  if (of_pairs || of_queries) {
    throw usage_error(where, "its mask must be of keys, (B|1, Hkv|1, 1, M), as it forms no pairs",
                      describe(mask), "Hide the same keys from all queries.");
  }
}

at::Tensor hidden_keys(const LinearAttendOptions& options, const at::Tensor& k) {
  at::Tensor hidden;
  if (options.key_lengths) hidden = keys_beyond(*options.key_lengths, k);
  if (options.key_mask) {
    at::Tensor mask = *options.key_mask;
    while (mask.dim() < 4) mask = mask.unsqueeze(0);
    const at::Tensor masked = mask.transpose(2, 3).bitwise_not();
    hidden = hidden.defined() ? hidden.bitwise_or(masked) : masked;
  }
  return hidden;
}

int64_t causal_shift(CausalAlignment causal, int64_t queries, int64_t keys) {
  if (causal == CausalAlignment::none) return keys;
  return causal == CausalAlignment::bottom_right ? keys - queries : 0;
}

LinearAttendResult linear_attend(const at::Tensor& phi_q, const at::Tensor& phi_k, const at::Tensor& v,
                                 const LinearAttendOptions& options) {
  check_linear_attend(phi_q, phi_k, v, options);
  // Autocast would round the sums to bfloat16.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const Refusal refusal = report(phi_q, phi_k, v, options);
  return refusal ? linear_attend_composed(phi_q, phi_k, v, options)
                 : linear_attend_by_sums(phi_q, phi_k, v, options);
}

LinearAttendResult linear_attend_elu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                     const LinearAttendOptions& options) {
  check_linear_attend(q, k, v, options);
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const at::Tensor whole_q = widened(q), whole_k = widened(k), whole_v = widened(v);
  const at::Tensor hidden = hidden_keys(options, k);
  if (!why_no_sums(options) && !why_not_linear_fused(whole_q, whole_k, whole_v, options.causal)) {
    const at::Tensor found =
        linear_attend_fused(whole_q, without_features(whole_k, hidden), without_keys(whole_v, hidden),
                            options.causal, options.normalised, kernels::LinearFeatures::elu);
    if (all_finite(found)) {
      report(whole_q, whole_k, whole_v, options);
      return {found.to(v.scalar_type()), {}};
    }
  }
  LinearAttendResult result =
      linear_attend(elu_features(whole_q), elu_features(without_keys(whole_k, hidden)), whole_v, options);
  result.out = result.out.to(v.scalar_type());
  if (result.weights.defined()) result.weights = result.weights.to(v.scalar_type());
  return result;
}

at::Tensor linear_attend_step(const at::Tensor& phi_q, const at::Tensor& phi_k, const at::Tensor& v,
                              at::Tensor& state, bool normalised) {
  constexpr const char* kStep = "linear_attend_step";
  check_linear_attend(phi_q, phi_k, v, {}, kStep);
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const SummedOperands operands{widened(phi_q), widened(phi_k), widened(v), CausalAlignment::top_left,
                                normalised,     state};
  const std::vector<int64_t> sizes = {phi_k.size(0), phi_k.size(1), phi_k.size(3),
                                      v.size(3) + (normalised ? 1 : 0)};
  if (phi_q.size(2) != phi_k.size(2)) {
    throw usage_error(kStep, "queries and keys must be of the same positions",
                      "phi_q " + describe(phi_q) + ", phi_k " + describe(phi_k), "Give both of each.");
  }
  if (state.defined() && !state.sizes().equals(sizes)) {
    throw usage_error(kStep, "the state must be " + describe_shape(sizes), describe(state),
                      "Begin with an undefined one.");
  }
  const at::Tensor out = isolated_results(operands).to(v.scalar_type());
  state = key_sums(operands).view(sizes);
  return out;
}

}  // namespace fovea
