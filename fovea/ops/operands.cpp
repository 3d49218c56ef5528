#include "fovea/ops/operands.h"

namespace fovea {

at::Tensor widened(const at::Tensor& t) { return t.scalar_type() == at::kDouble ? t : t.to(at::kFloat); }

at::Tensor with_heads(const at::Tensor& t, int64_t heads) {
  return t.size(1) == heads ? t : t.repeat_interleave(heads / t.size(1), 1);
}

at::Tensor gathered_rows(const at::Tensor& t, const at::Tensor& numbers) {
  return t.gather(2, numbers.unsqueeze(3).expand({-1, t.size(1), -1, t.size(3)}));
}

}  // namespace fovea
