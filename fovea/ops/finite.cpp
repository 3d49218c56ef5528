#include "fovea/ops/finite.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/where.h>

namespace fovea {

bool all_finite(at::TensorList tensors) {
  at::Tensor finite;
  for (const at::Tensor& t : tensors) {
    if (t.is_meta() || t.numel() == 0) continue;
    const auto [least, largest] = at::aminmax(t.detach());  // one pass, and NaN where there is one
    const at::Tensor both = at::isfinite(least).bitwise_and(at::isfinite(largest));
    finite = finite.defined() ? finite.bitwise_and(both) : both;
  }
  return !finite.defined() || finite.item<bool>();  // a device is asked once
}

at::Tensor finite_part(const at::Tensor& t) { return t.masked_fill(at::isfinite(t).bitwise_not(), 0.0); }

at::Tensor finite_product(const at::Tensor& t, const at::Tensor& factors) {
  if (all_finite(t)) return t * factors;
  return at::where(at::isfinite(t), finite_part(t) * factors, (t * factors).detach());
}

at::Tensor row_products(const at::Tensor& a, const at::Tensor& b) {
  if (all_finite({a, b})) return at::matmul(a, b.transpose(-2, -1));
  const auto spoilt = [](const at::Tensor& rows) { return at::isfinite(rows).all(-1).bitwise_not(); };
  return at::where(spoilt(a).unsqueeze(-1).bitwise_or(spoilt(b).unsqueeze(-2)),
                   at::matmul(a, b.transpose(-2, -1)).detach(),
                   at::matmul(finite_part(a), finite_part(b).transpose(-2, -1)));
}

}  // namespace fovea
