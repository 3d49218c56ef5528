#include "fovea/kernels/cpu/gradient_rows.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <immintrin.h>

#include <limits>

#include "fovea/core/isa.h"
#include "fovea/mods/simd.h"

namespace fovea::kernels {

#define FOVEA_ROWS "fovea/kernels/cpu/gradient_rows.inl"
#include "fovea/kernels/cpu/each_isa.inl"

GradientKernels gradient_kernels(Type type) {
  return for_active_isa(baseline::kernels<false>, avx2::kernels<false>, avx512::kernels<false>)(type);
}

GradientKernels sigmoid_gradient_kernels(Type type) {
  return for_active_isa(baseline::kernels<true>, avx2::kernels<true>, avx512::kernels<true>)(type);
}

}  // namespace fovea::kernels
