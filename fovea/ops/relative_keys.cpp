#include "fovea/ops/relative_keys.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>

#include "fovea/ops/finite.h"
#include "fovea/ops/operands.h"

namespace fovea {

namespace {

// (., ., N, 2 R + 1) -> (., ., N, N + M - 1), from distance 1 - N to M - 1: entries beyond R are those at R.
at::Tensor each_distance(const at::Tensor& by_entry, int64_t queries, int64_t keys) {
  const int64_t reach = by_entry.size(3) / 2, before = queries - 1, after = keys - 1;
  const int64_t first = std::max<int64_t>(reach - before, 0), last = std::min(reach + after, 2 * reach);
  const auto repeated = [&](int64_t entry, int64_t times) {
    return by_entry.narrow(3, entry, 1).expand({-1, -1, -1, std::max<int64_t>(times, 0)});
  };
  return at::cat({repeated(0, before - reach), by_entry.narrow(3, first, last - first + 1),
                  repeated(2 * reach, after - reach)},
                 3);
}

}  // namespace

at::Tensor relative_key_scores(const at::Tensor& q, const at::Tensor& table, double scale, int64_t keys) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const at::Tensor rows = widened(q) * scale, entries = table.to(rows.scalar_type());
  const int64_t queries = q.size(2), span = queries + keys - 1;
  const at::Tensor by_entry = row_products(rows, entries);
  if (queries == 0 || keys == 0) return by_entry.sum(3, /*keepdim=*/true).expand({-1, -1, -1, keys});
  const at::Tensor by_distance = each_distance(by_entry, queries, keys);
  if (queries == 1) return by_distance;
  // Row i begins at distance 0 - i, which is one number further left in each row.
  return by_distance.flatten(2)
      .narrow(2, queries - 1, queries * (span - 1))
      .unflatten(2, {queries, span - 1})
      .narrow(3, 0, keys);
}

}  // namespace fovea
