#include "fovea/ops/linear_attend_composed.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <limits>

#include "fovea/ops/finite.h"
#include "fovea/ops/operands.h"

namespace fovea {
namespace {

// Boolean, broadcastable to (B, H, N, M).
at::Tensor seen_pairs(const at::Tensor& q, const at::Tensor& k, const LinearAttendOptions& options) {
  const int64_t n = q.size(2), m = k.size(2);
  at::Tensor seen = at::ones({n, m}, q.options().dtype(at::kBool).requires_grad(false));
  if (options.causal != CausalAlignment::none) seen = seen.tril(causal_shift(options.causal, n, m));
  const at::Tensor hidden = hidden_keys(options, k);
  return hidden.defined() ? seen.bitwise_and(hidden.transpose(2, 3).bitwise_not()) : seen;
}

// A number that is not finite reaches the queries that see it, whatever its weight.
at::Tensor sums_of_values(const at::Tensor& weights, const at::Tensor& values, const at::Tensor& seen) {
  if (all_finite(values)) return at::matmul(weights, values);
  const at::Tensor spoilt = at::isfinite(values).bitwise_not().to(weights.scalar_type());
  const at::Tensor reached = at::matmul(seen.to(weights.scalar_type()).expand_as(weights), spoilt) > 0;
  return at::matmul(weights, finite_part(values))
      .masked_fill(reached, std::numeric_limits<double>::quiet_NaN());
}

}  // namespace

at::Tensor divisors(const at::Tensor& sums) {
  const double least = sums.scalar_type() == at::kDouble ? std::numeric_limits<double>::min()
                                                         : std::numeric_limits<float>::min();
  return sums.masked_fill(sums.detach().abs() < 1e8 * least, std::numeric_limits<double>::infinity());
}

LinearAttendResult linear_attend_composed(const at::Tensor& phi_q, const at::Tensor& phi_k,
                                          const at::Tensor& v, const LinearAttendOptions& options) {
  const int64_t heads = phi_q.size(1);
  const at::Tensor q = widened(phi_q), k = widened(phi_k), seen = seen_pairs(q, k, options);
  const at::Tensor products = row_products(q, with_heads(k, heads));
  at::Tensor weights = at::where(seen, products, at::zeros_like(products));
  if (options.normalised) {
    weights = weights / divisors(weights.sum(-1, true));
  }
  const at::Tensor out = sums_of_values(weights, with_heads(widened(v), heads), seen);
  LinearAttendResult result{out.to(v.scalar_type()), {}};
  if (options.weights) result.weights = weights.to(v.scalar_type());
  return result;
}

}  // namespace fovea
