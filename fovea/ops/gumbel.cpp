#include "fovea/ops/gumbel.h"

#include <ATen/ops/empty.h>

namespace fovea {

at::Tensor gumbel(uint64_t seed, const TensorAt& at) {
  const auto numbers = [](const at::Tensor& t) { return t.to(at::kCPU, at::kInt).flatten().contiguous(); };
  const at::Tensor batches = numbers(at.batch), heads = numbers(at.head), queries = numbers(at.q),
                   keys = numbers(at.k);
  const at::Tensor noise = at::empty({batches.size(0), heads.size(0), queries.size(0), keys.size(0)},
                                     at::TensorOptions(at::kCPU).dtype(at::kFloat));
  auto* out = noise.mutable_data_ptr<float>();
  const auto each = [](const at::Tensor& t, const auto& body) {
    for (int64_t i = 0; i < t.size(0); ++i) body(t.const_data_ptr<int32_t>()[i]);
  };
  each(batches, [&](int32_t b) {
    each(heads, [&](int32_t h) {
      each(queries, [&](int32_t q) {
        each(keys, [&](int32_t k) { *out++ = gumbel(seed, At<int32_t, int32_t>{q, k, b, h}); });
      });
    });
  });
  return noise.to(at.q.device());
}

}  // namespace fovea
