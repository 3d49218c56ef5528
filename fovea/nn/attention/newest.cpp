#include "fovea/nn/attention/newest.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>

#include <vector>

namespace fovea::nn {

at::Tensor newest_first(const at::Tensor& lengths, int64_t count) {
  return (lengths.unsqueeze(1) - 1 - at::arange(count, lengths.options())).clamp_min(0);
}

at::Tensor in_order(const at::Tensor& weights, const at::Tensor& newest, int64_t places) {
  std::vector<int64_t> ones(weights.dim(), 1), sizes = weights.sizes().vec();
  ones.front() = newest.size(0), ones.back() = newest.size(1);
  sizes.back() = places;
  // Added, as several stand at 0.
  return at::zeros(sizes, weights.options().requires_grad(false))
      .scatter_add(-1, newest.view(ones).expand_as(weights), weights);
}

}  // namespace fovea::nn
