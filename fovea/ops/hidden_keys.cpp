#include "fovea/ops/hidden_keys.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>

namespace fovea {

at::Tensor keys_beyond(const at::Tensor& lengths, const at::Tensor& k) {
  const at::Tensor known = lengths.to(k.device(), at::kLong).view({-1, 1, 1, 1});
  return at::arange(k.size(2), known.options()).unsqueeze(1) >= known;
}

at::Tensor without_keys(const at::Tensor& t, const at::Tensor& hidden) {
  return hidden.defined() ? t.masked_fill(hidden, 0.0) : t;
}

}  // namespace fovea
