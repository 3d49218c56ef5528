#include "fovea/ops/relative_keys.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/matmul.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "fovea/ops/attend_composed.h"

namespace fovea {

at::Tensor relative_key_scores(const at::Tensor& q, const at::Tensor& table, double scale, int64_t keys) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const at::Tensor rows = half_widened(q) * scale, entries = table.to(rows.scalar_type());
  const int64_t queries = q.size(2), reach = table.size(1) / 2, span = queries + keys - 1;
  const at::Tensor by_entry = at::matmul(rows, entries.transpose(1, 2));
  if (queries == 0 || keys == 0) return by_entry.sum(3, /*keepdim=*/true).expand({-1, -1, -1, keys});
  const at::Tensor distances =
      at::arange(1 - queries, keys, q.options().dtype(at::kLong).requires_grad(false));
  const at::Tensor by_distance = by_entry.index_select(3, distances.clamp(-reach, reach) + reach);
  if (queries == 1) return by_distance;
  // Row i begins at distance 0 - i, which is one number further left in each row.
  return by_distance.flatten(2)
      .narrow(2, queries - 1, queries * (span - 1))
      .unflatten(2, {queries, span - 1})
      .narrow(3, 0, keys);
}

}  // namespace fovea
