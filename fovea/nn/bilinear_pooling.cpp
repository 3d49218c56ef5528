#include "fovea/nn/bilinear_pooling.h"

#include "fovea/ops/bilinear_pool.h"

namespace fovea::nn {

BilinearPoolingImpl::BilinearPoolingImpl(int64_t channels, int64_t others, int64_t classes)
    : others_(others) {
  fc = register_module("fc", Linear(channels * others, classes));
}

at::Tensor BilinearPoolingImpl::forward(const at::Tensor& a, const at::Tensor& b) {
  at::Tensor out = fc->forward(bilinear_pool(a, b));
  tap(*this, a, out);
  return out;
}

int64_t BilinearPoolingImpl::multiply_adds(const at::Tensor& input, const at::Tensor&) const {
  return input.numel() * others_;
}

}  // namespace fovea::nn
