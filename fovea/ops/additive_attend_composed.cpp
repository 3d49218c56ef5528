#include "fovea/ops/additive_attend_composed.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tanh.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <limits>

#include "fovea/ops/attend_composed.h"
#include "fovea/ops/call_functors.h"
#include "fovea/ops/operands.h"

namespace fovea {
namespace {

// (B, H, N, E) and (B, H, M, E) -> (B, H, N, M).
at::Tensor additive_scores(const at::Tensor& q, const at::Tensor& k, const at::Tensor& w) {
  const at::Tensor hidden = at::tanh(q.unsqueeze(3) + k.unsqueeze(2));
  return at::matmul(hidden, w.view({-1, 1, w.size(-1), 1})).squeeze(-1);
}

bool any_nan(const at::Tensor& t) { return !t.is_meta() && at::isnan(t).any().item<bool>(); }

// A gradient of 0, of a key that a query may not see, times a slope that is NaN would be NaN: scores of such
// queries and keys pass none.
at::Tensor isolated_scores(const at::Tensor& q, const at::Tensor& k, const at::Tensor& w) {
  if (!any_nan(q) && !any_nan(k)) return additive_scores(q, k, w);
  const at::Tensor nan_q = at::isnan(q), nan_k = at::isnan(k);
  return additive_scores(q.masked_fill(nan_q, 0.0), k.masked_fill(nan_k, 0.0), w)
      .masked_fill(nan_q.any(-1).unsqueeze(3).bitwise_or(nan_k.any(-1).unsqueeze(2)),
                   std::numeric_limits<double>::quiet_NaN());
}

}  // namespace

AttendResult additive_attend_composed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                      const at::Tensor& w, const AttendOptions& options) {
  // Autocast would round the scores to bfloat16.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const at::Tensor queries = widened(q);
  const at::Tensor scores = isolated_scores(queries, widened(k), w.to(queries.scalar_type()));
  return attend_scores(scores, v, options, call_functors(q, k, options, Tiles::none));
}

}  // namespace fovea
