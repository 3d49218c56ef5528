#include "fovea/kernels/cpu/dropout_rows.h"

#include <immintrin.h>

#include "fovea/core/isa.h"

namespace fovea::kernels {

namespace baseline {
#define FOVEA_LANES 4
#define FOVEA_TARGET
#define FOVEA_MULTIPLY_EVEN(x, factor) ((Wide)_mm_mul_epu32((__m128i)(x), _mm_set1_epi64x(factor)))
#define FOVEA_SIGNS(x) static_cast<uint32_t>(_mm_movemask_ps((__m128)(x)))
#include "fovea/kernels/cpu/dropout_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_MULTIPLY_EVEN
#undef FOVEA_SIGNS
}  // namespace baseline

namespace avx2 {
#define FOVEA_LANES 8
#define FOVEA_TARGET __attribute__((target("avx2,fma")))
#define FOVEA_MULTIPLY_EVEN(x, factor) ((Wide)_mm256_mul_epu32((__m256i)(x), _mm256_set1_epi64x(factor)))
#define FOVEA_SIGNS(x) static_cast<uint32_t>(_mm256_movemask_ps((__m256)(x)))
#include "fovea/kernels/cpu/dropout_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_MULTIPLY_EVEN
#undef FOVEA_SIGNS
}  // namespace avx2

namespace avx512 {
#define FOVEA_LANES 16
#define FOVEA_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#define FOVEA_MULTIPLY_EVEN(x, factor) \
  ((Wide)_mm512_maskz_mul_epu32(0xff, (__m512i)(x), _mm512_set1_epi64(factor)))
#define FOVEA_SIGNS(x) static_cast<uint32_t>(_mm512_movepi32_mask((__m512i)(x)))
#include "fovea/kernels/cpu/dropout_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_MULTIPLY_EVEN
#undef FOVEA_SIGNS
}  // namespace avx512

DropoutKernels dropout_kernels() {
  if (active_isa() >= Isa::avx512) {
    return {avx512::plain_bits, avx512::transposed_bits, avx512::apply_bits, avx512::apply_narrow_bits};
  }
  if (active_isa() >= Isa::avx2) {
    return {avx2::plain_bits, avx2::transposed_bits, avx2::apply_bits, avx2::apply_narrow_bits};
  }
  return {baseline::plain_bits, baseline::transposed_bits, baseline::apply_bits, baseline::apply_narrow_bits};
}

}  // namespace fovea::kernels
