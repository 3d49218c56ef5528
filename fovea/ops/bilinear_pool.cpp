#include "fovea/ops/bilinear_pool.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "fovea/core/error.h"
#include "fovea/ops/describe.h"
#include "fovea/ops/operands.h"

namespace fovea {
namespace {

constexpr double kEps = 1e-8;

void check_maps(const at::Tensor& a, const at::Tensor& b) {
  const auto is_map = [](const at::Tensor& t) {
    return t.defined() && t.dim() == 4 && t.is_floating_point();
  };
  const bool fit = is_map(a) && is_map(b) && a.scalar_type() == b.scalar_type() && a.device() == b.device() &&
                   a.size(0) == b.size(0) && a.sizes().slice(2).equals(b.sizes().slice(2));
  if (fit) return;
  throw usage_error("bilinear_pool",
                    "a and b must be maps (B, C, H, W) of one type, device, batch size, height and width",
                    "a " + describe(a) + ", b " + describe(b), "Resize or convert one.");
}

}  // namespace

at::Tensor bilinear_pool(const at::Tensor& a, const at::Tensor& b) {
  check_maps(a, b);
  // Sums over all places want the precision that autocast would take from them.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const at::Tensor products =
      at::matmul(widened(a).flatten(2), widened(b).flatten(2).transpose(1, 2)).flatten(1);
  const at::Tensor roots = products / (products.abs() + kEps).sqrt();
  return (roots / (roots.square().sum(1, /*keepdim=*/true) + kEps).sqrt()).to(a.scalar_type());
}

}  // namespace fovea
