#include <immintrin.h>

#include <algorithm>
#include <cmath>

#include "fovea/core/isa.h"
#include "fovea/core/isa_target.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/one_pass_gradient.h"
#include "fovea/mods/simd.h"

namespace fovea::kernels {

#define FOVEA_ROWS "fovea/kernels/cpu/fma_gradient.inl"
#include "fovea/kernels/cpu/each_isa.inl"

void gradient_in_one_pass(const GradientProducts<float>& products, const GradientBlock<float>& to) {
  for_active_isa(baseline::gradient, avx2::gradient, avx512::gradient)(products, to);
}

}  // namespace fovea::kernels
