#include "fovea/nn/attention/random_features.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_qr.h>

#include <algorithm>
#include <vector>

#include "fovea/core/random.h"

namespace fovea::nn {
namespace {

// Never on the meta device, on which networks are made for their shapes.
at::Tensor normal_rows(int64_t rows, int64_t size, Random& random) {
  const at::Tensor t = at::empty({rows, size}, at::TensorOptions().dtype(at::kDouble).device(at::kCPU));
  std::generate_n(t.mutable_data_ptr<double>(), t.numel(), [&] { return random.normal(); });
  return t;
}

at::Tensor orthogonal_rows(int64_t size, Random& random) {
  const auto [q, r] = at::linalg_qr(normal_rows(size, size, random));
  return (q * r.diagonal().sign()).t();
}

}  // namespace

at::Tensor random_features(int64_t count, int64_t size, bool orthogonal, uint64_t seed) {
  Random random(seed);
  const at::Tensor normal = normal_rows(count, size, random);
  if (!orthogonal) return normal;
  std::vector<at::Tensor> blocks;
  for (int64_t begin = 0; begin < count; begin += size) {
    blocks.push_back(orthogonal_rows(size, random).narrow(0, 0, std::min(size, count - begin)));
  }
  return at::cat(blocks) * normal.norm(2, -1, true);
}

}  // namespace fovea::nn
