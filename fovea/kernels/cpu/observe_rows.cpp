#include "fovea/kernels/cpu/observe_rows.h"

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <functional>

#include "fovea/core/isa.h"
#include "fovea/core/isa_target.h"
#include "fovea/kernels/cpu/lanes.h"
#include "fovea/mods/simd.h"

namespace fovea::kernels {

// A bit for each number of a vector that is larger.
namespace baseline {
static inline uint32_t above(const float* row, float least) {
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpgt_ps(_mm_loadu_ps(row), _mm_set1_ps(least))));
}
}  // namespace baseline
namespace avx2 {
FOVEA_TARGET_AVX2 static inline uint32_t above(const float* row, float least) {
  const __m256 larger = _mm256_cmp_ps(_mm256_loadu_ps(row), _mm256_set1_ps(least), _CMP_GT_OQ);
  return static_cast<uint32_t>(_mm256_movemask_ps(larger));
}
}  // namespace avx2
namespace avx512 {
FOVEA_TARGET_AVX512 static inline uint32_t above(const float* row, float least) {
  return _mm512_cmp_ps_mask(_mm512_loadu_ps(row), _mm512_set1_ps(least), _CMP_GT_OQ);
}
}  // namespace avx512

#define FOVEA_ROWS "fovea/kernels/cpu/observe_rows.inl"
#include "fovea/kernels/cpu/each_isa.inl"

ObserveKernels observe_kernels() {
  return for_active_isa(baseline::kernels, avx2::kernels, avx512::kernels)();
}

}  // namespace fovea::kernels
