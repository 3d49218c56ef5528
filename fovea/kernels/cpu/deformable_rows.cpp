#include "fovea/kernels/cpu/deformable_rows.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <immintrin.h>

#include <algorithm>

#include "fovea/core/isa.h"
#include "fovea/kernels/cpu/lanes.h"
#include "fovea/mods/simd.h"

// g++ 12 takes the undefined parts of its own AVX-512 intrinsics for a mistake (its bug 105593).
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace fovea::kernels {

#define FOVEA_ROWS "fovea/kernels/cpu/deformable_rows.inl"
#include "fovea/kernels/cpu/each_isa.inl"

DeformableKernels deformable_kernels(Type type) {
  return for_active_isa(baseline::kernels, avx2::kernels, avx512::kernels)(type);
}

}  // namespace fovea::kernels
