#include "fovea/nn/block/drop_path.h"

#include "fovea/core/error.h"

namespace fovea::nn {

DropPathImpl::DropPathImpl(double p) : p_(p) {
  if (!(p >= 0.0 && p < 1.0)) {
    throw usage_error("drop_path", "the probability must be in [0, 1)", std::to_string(p),
                      "It is the part that is dropped.");
  }
}

at::Tensor DropPathImpl::forward(const at::Tensor& x) {
  if (!is_training() || p_ == 0.0) return x;
  std::vector<int64_t> per_sample(static_cast<size_t>(x.dim()), 1);
  per_sample[0] = x.size(0);
  at::Tensor out = x * x.new_empty(per_sample).bernoulli_(1.0 - p_).div_(1.0 - p_);
  tap(*this, x, out);
  return out;
}

double drop_path_rate_of(int64_t index, int64_t depth, double last) {
  return depth < 2 ? 0.0 : last * static_cast<double>(index) / static_cast<double>(depth - 1);
}

}  // namespace fovea::nn
