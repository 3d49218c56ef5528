#include "fovea/ops/deformable_attend_composed.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/floor.h>
#include <ATen/ops/gather.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "fovea/ops/operands.h"

namespace fovea {
namespace {

// One of the two places around each point on an axis of `size` places.
struct Neighbour {
  at::Tensor place, share, inside;  // (B, H, N, P)
};

Neighbour neighbour(const at::Tensor& x, int64_t size, int64_t side) {
  const at::Tensor below = at::floor(x.detach()), beyond = x - below, place = below + side;
  return {place.to(at::kLong).clamp(0, size - 1), side == 1 ? beyond : 1 - beyond,
          place.ge(0) & place.lt(static_cast<double>(size))};
}

// The values of a map (B, H, S, D) at the places (B, H, N, P), row by row: (B, H, N, P, D).
at::Tensor values_at(const at::Tensor& v, const at::Tensor& places) {
  const auto n = places.sizes();
  const at::Tensor rows = places.reshape({n[0], n[1], n[2] * n[3], 1}).expand({-1, -1, -1, v.size(3)});
  return at::gather(v, 2, rows).view({n[0], n[1], n[2], n[3], v.size(3)});
}

// The sum over the points (B, H, N, P, 2) of one map.
at::Tensor sample_map(const at::Tensor& v, const MapShape& map, const at::Tensor& locations,
                      const at::Tensor& weights) {
  // Far beyond a map all is 0, and an infinity minus itself would be NaN.
  const auto on_axis = [&](int64_t axis, int64_t size) {
    const auto places = static_cast<double>(size);
    return (locations.select(-1, axis) * places - 0.5).clamp(-2.0, places + 1.0);
  };
  const at::Tensor x = on_axis(0, map.columns), y = on_axis(1, map.rows);
  at::Tensor sum;
  for (const int64_t lower : {0, 1}) {
    const Neighbour row = neighbour(y, map.rows, lower);
    for (const int64_t right : {0, 1}) {
      const Neighbour column = neighbour(x, map.columns, right);
      const at::Tensor place = row.place * map.columns + column.place;
      // What is not inside has no influence, NaN included.
      const at::Tensor beyond = ~(row.inside & column.inside).unsqueeze(-1);
      const at::Tensor share = (weights * row.share * column.share).unsqueeze(-1);
      const at::Tensor corner = (share * values_at(v, place).masked_fill(beyond, 0.0)).sum(3);
      sum = sum.defined() ? sum + corner : corner;
    }
  }
  return sum;
}

}  // namespace

at::Tensor deformable_attend_composed(const at::Tensor& v, const std::vector<MapShape>& maps,
                                      const at::Tensor& locations, const at::Tensor& weights) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const at::Tensor values = widened(v), places = locations.to(values.scalar_type()),
                   shares = weights.to(values.scalar_type());
  at::Tensor out;
  int64_t first = 0;
  for (size_t l = 0; l < maps.size(); ++l) {
    const int64_t count = maps[l].rows * maps[l].columns, level = static_cast<int64_t>(l);
    const at::Tensor part =
        sample_map(values.narrow(2, first, count), maps[l], places.select(3, level), shares.select(3, level));
    out = out.defined() ? out + part : part;
    first += count;
  }
  return out.to(v.scalar_type());
}

}  // namespace fovea
