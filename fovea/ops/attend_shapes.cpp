#include "fovea/ops/attend_shapes.h"

#include <ATen/ops/empty.h>

namespace fovea {

AttendResult attend_shapes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttendOptions& options) {
  const auto like = v.options().requires_grad(false);
  const auto b = q.size(0), h = q.size(1), n = q.size(2);
  AttendResult result{at::empty({b, h, n, v.size(3)}, like), {}, {}};
  if (options.weights) result.weights = at::empty({b, h, n, k.size(2)}, like);
  if (options.lse) {
    const auto type = v.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    result.lse = at::empty({b, h, n}, like.dtype(type));
  }
  return result;
}

}  // namespace fovea
