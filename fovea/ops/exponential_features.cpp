#include "fovea/ops/exponential_features.h"

#include "fovea/ops/exponential_features_composed.h"
#include "fovea/ops/exponential_features_fused.h"

namespace fovea {

at::Tensor query_exponentials(const at::Tensor& x, const at::Tensor& directions, double scale) {
  return has_exponential_kernel(x, directions) ? query_exponentials_fused(x, directions, scale)
                                               : query_exponentials_composed(x, directions, scale);
}

KeyExponentials key_exponentials(const at::Tensor& x, const at::Tensor& directions, double scale,
                                 const at::Tensor& hidden, const at::Tensor& least) {
  return has_exponential_kernel(x, directions)
             ? key_exponentials_fused(x, directions, scale, hidden, least)
             : key_exponentials_composed(x, directions, scale, hidden, least);
}

}  // namespace fovea
