#pragma once
#include <cstdint>

#include "fovea/kernels/cpu/pack.h"

namespace fovea::kernels {

/// out = x + 1 where x > 0, exp(x) elsewhere, of rows x; rows of `out` are `stride` apart.
void elu_rows(const Rows<float>& rows, float* out, int64_t stride);

/// Gradients by rows x, of those by their features: out = grad where x > 0, grad exp(x) elsewhere.
void elu_gradients(const Rows<float>& grads, const Rows<float>& rows, float* out, int64_t stride);

}  // namespace fovea::kernels
