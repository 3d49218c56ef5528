#include "fovea/ops/attend_composed.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <limits>
#include <tuple>

#include "fovea/ops/attend_dropout.h"
#include "fovea/ops/attend_normalisers.h"
#include "fovea/ops/attend_similarity.h"

namespace fovea {
namespace {

// Hidden scores that are not finite as 0: times a gradient of 0 a step's slope there would still be NaN.
at::Tensor hidden_finite(const at::Tensor& scores, const at::Tensor& allowed) {
  if (!allowed.defined() || all_finite(scores)) return scores;
  return scores.masked_fill(allowed.logical_not(), 0.0);
}

// A score of -inf hides like a mask.
at::Tensor without_minus_infinity(const at::Tensor& allowed, const at::Tensor& scores) {
  if (scores.is_meta()) return allowed;
  const at::Tensor seen = scores.detach() != -std::numeric_limits<double>::infinity();
  if (seen.all().item<bool>()) return allowed;
  return allowed.defined() ? allowed.logical_and(seen) : seen;
}

// What the values that are not finite add to those who may see them: infinity of one sign, or NaN.
at::Tensor spoilt_outputs(const at::Tensor& v, const at::Tensor& allowed, at::IntArrayRef scores) {
  const at::Tensor seen = allowed.expand(scores).to(v.scalar_type());
  const auto meets = [&](const at::Tensor& these) { return at::matmul(seen, these.to(v.scalar_type())) > 0; };
  const double infinity = std::numeric_limits<double>::infinity();
  const at::Tensor none = at::zeros({}, v.options().requires_grad(false));
  return none.masked_fill(meets(v == infinity), infinity) +
         none.masked_fill(meets(v == -infinity), -infinity) +
         none.masked_fill(meets(at::isnan(v)), std::numeric_limits<double>::quiet_NaN());
}

at::Tensor weighted_sum(const at::Tensor& weights, const at::Tensor& v, const at::Tensor& allowed) {
  if (!allowed.defined() || all_finite(v)) return at::matmul(weights, v);
  return at::matmul(weights, finite_part(v)) + spoilt_outputs(v.detach(), allowed, weights.sizes());
}

}  // namespace

at::Tensor row_products(const at::Tensor& a, const at::Tensor& b) {
  if (all_finite(a) && all_finite(b)) return at::matmul(a, b.transpose(-2, -1));
  const auto spoilt = [](const at::Tensor& rows) { return at::isfinite(rows).all(-1).logical_not(); };
  return at::where(spoilt(a).unsqueeze(-1).logical_or(spoilt(b).unsqueeze(-2)),
                   at::matmul(a, b.transpose(-2, -1)).detach(),
                   at::matmul(finite_part(a), finite_part(b).transpose(-2, -1)));
}

at::Tensor with_heads(const at::Tensor& t, int64_t heads) {
  return t.size(1) == heads ? t : t.repeat_interleave(heads / t.size(1), 1);
}

at::Tensor half_widened(const at::Tensor& t) {
  return t.scalar_type() == at::kBFloat16 || t.scalar_type() == at::kHalf ? t.to(at::kFloat) : t;
}

bool all_finite(const at::Tensor& t) {
  if (t.is_meta() || t.numel() == 0) return true;
  const auto [least, largest] = at::aminmax(t.detach());  // one pass, and NaN where there is one
  return at::isfinite(least).logical_and(at::isfinite(largest)).item<bool>();  // a device is asked once
}

at::Tensor finite_part(const at::Tensor& t) { return t.masked_fill(at::isfinite(t).logical_not(), 0.0); }

at::Tensor finite_product(const at::Tensor& t, const at::Tensor& factors) {
  if (all_finite(t)) return t * factors;
  return at::where(at::isfinite(t), finite_part(t) * factors, (t * factors).detach());
}

AttendResult attend_scores(at::Tensor scores, const at::Tensor& v, const AttendOptions& options,
                           const FunctorList& functors) {
  const TensorAt at = positions_of(scores, scores.sizes());
  at::Tensor allowed = allowed_pairs(functors, at);
  const at::Tensor products = scores;
  scores = hidden_finite(scores, allowed);
  for (const auto& step : functors) {
    const at::Tensor result = step->score(scores, at);
    if (!result.is_same(scores)) scores = hidden_finite(result, allowed);
  }
  if (!scores.is_same(products)) allowed = without_minus_infinity(allowed, scores);
  at::Tensor weights = normalise(options.normaliser, scores, allowed);
  if (options.dropout_p > 0.0) weights = weights * dropout_factors(weights, dropout_of(options));
  const at::Tensor values = with_heads(half_widened(v), scores.size(1));
  const at::Tensor out = weighted_sum(weights, values, allowed).to(v.scalar_type());
  return {out, options.weights ? weights : at::Tensor(),
          options.lse ? log_sum_exp(options.normaliser, scores, allowed) : at::Tensor()};
}

AttendResult attend_composed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const AttendOptions& options) {
  return attend_composed(q, k, v, options, call_functors(q, k, options, Tiles::none));
}

AttendResult attend_composed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const AttendOptions& options, const FunctorList& functors) {
  // Autocast would round the widened q, k and the scores back to bfloat16.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const at::Tensor queries = half_widened(q) * product_scale(q, options),
                   keys = with_heads(half_widened(k), q.size(1));
  return attend_scores(row_products(queries, keys), v, options, functors);
}

}  // namespace fovea
