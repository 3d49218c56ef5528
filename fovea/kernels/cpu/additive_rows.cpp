#include "fovea/kernels/cpu/additive_rows.h"

#include <immintrin.h>

#include <limits>

#include "fovea/core/isa.h"
#include "fovea/core/isa_target.h"
#include "fovea/mods/simd.h"

namespace fovea::kernels {

// Vectors that the registers hold at once, and 1 / x; one step of Newton takes 12 bits of a reciprocal to 23,
// 14 to the last one.
namespace baseline {
constexpr int kVectors = 2;
static inline simd::lanes::Native<4>::f reciprocal(simd::lanes::Native<4>::f x) { return 1.0f / x; }
}  // namespace baseline
namespace avx2 {
constexpr int kVectors = 4;
FOVEA_TARGET_AVX2 static inline simd::lanes::Native<8>::f reciprocal(simd::lanes::Native<8>::f x) {
  const simd::lanes::Native<8>::f r = _mm256_rcp_ps((__m256)x);
  return r * (2.0f - x * r);
}
}  // namespace avx2
namespace avx512 {
constexpr int kVectors = 4;
FOVEA_TARGET_AVX512 static inline simd::lanes::Native<16>::f reciprocal(simd::lanes::Native<16>::f x) {
  const simd::lanes::Native<16>::f r = _mm512_maskz_rcp14_ps(__mmask16(-1), (__m512)x);
  return r * (2.0f - x * r);
}
}  // namespace avx512

#define FOVEA_ROWS "fovea/kernels/cpu/additive_rows.inl"
#include "fovea/kernels/cpu/each_isa.inl"

AdditiveKernels additive_kernels() {
  return for_active_isa(baseline::additive, avx2::additive, avx512::additive)();
}

}  // namespace fovea::kernels
