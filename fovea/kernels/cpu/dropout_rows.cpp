#include "fovea/kernels/cpu/dropout_rows.h"

#include <immintrin.h>

#include "fovea/core/isa.h"
#include "fovea/core/isa_target.h"
#include "fovea/mods/philox_lanes.h"

namespace fovea::kernels {

// A bit for each sign.
namespace baseline {
using Vector = __m128i;
static inline int signs(Vector x) { return _mm_movemask_ps(_mm_castsi128_ps(x)); }
}  // namespace baseline
namespace avx2 {
using Vector = __m256i;
FOVEA_TARGET_AVX2 static inline int signs(Vector x) { return _mm256_movemask_ps(_mm256_castsi256_ps(x)); }
}  // namespace avx2
namespace avx512 {
using Vector = __m512i;
FOVEA_TARGET_AVX512 static inline int signs(Vector x) { return _mm512_movepi32_mask(x); }
}  // namespace avx512

#define FOVEA_ROWS "fovea/kernels/cpu/dropout_rows.inl"
#include "fovea/kernels/cpu/each_isa.inl"

DropoutKernels dropout_kernels() {
  return for_active_isa(baseline::kernels, avx2::kernels, avx512::kernels)();
}

}  // namespace fovea::kernels
