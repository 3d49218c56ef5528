#include "fovea/kernels/cpu/linear_rows.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <immintrin.h>

#include "fovea/core/isa.h"
#include "fovea/kernels/cpu/lanes.h"
#include "fovea/mods/simd.h"

// g++ 12 takes the undefined parts of its own AVX-512 intrinsics for a mistake (its bug 105593).
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace fovea::kernels {

#define FOVEA_ROWS "fovea/kernels/cpu/linear_rows.inl"
#include "fovea/kernels/cpu/each_isa.inl"

void sum_rows(const Rows<float>& rows, const float* factors, const Rows<float>& others, float* sums) {
  for_active_isa(baseline::row_sums, avx2::row_sums, avx512::row_sums)(rows, factors, others, sums);
}

}  // namespace fovea::kernels
