#pragma once
#include <ATen/core/Tensor.h>

namespace fovea {

/// The features of linear attention.   phi(x) = elu(x) + 1 = x + 1 where x > 0, exp(x) elsewhere
/// Small ones have all their digits, as 1 is not taken away and added again; on a CPU in float32 they are 0
/// below x = -87.3. Any shape and floating point type; differentiable. Source: Katharopoulos et al. 2020,
/// Transformers are RNNs, 3.2, equation 7.
at::Tensor elu_features(const at::Tensor& x);

}  // namespace fovea
