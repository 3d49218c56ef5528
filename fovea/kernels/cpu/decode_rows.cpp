#include "fovea/kernels/cpu/decode_rows.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <immintrin.h>

#include <algorithm>
#include <type_traits>

#include "fovea/core/isa.h"
#include "fovea/core/isa_target.h"
#include "fovea/mods/simd.h"

// g++ 12 takes the undefined parts of its own AVX-512 intrinsics for a mistake (its bug 105593).
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace fovea::kernels {

namespace avx512 {
using Numbers = simd::lanes::Native<16>::f;
FOVEA_TARGET_AVX512 static inline void load_part(const float* p, int64_t n, Numbers& a, Numbers& b) {
  const uint32_t inside = (1u << n) - 1;
  a = _mm512_maskz_loadu_ps(static_cast<__mmask16>(inside), p);
  b = _mm512_maskz_loadu_ps(static_cast<__mmask16>(inside >> 16), p + 16);
}
FOVEA_TARGET_AVX512 static inline void load_part(const c10::BFloat16* p, int64_t n, Numbers& a, Numbers& b) {
  const __m512i pairs = _mm512_maskz_loadu_epi16((1u << n) - 1, p);
  a = (Numbers)_mm512_slli_epi32(pairs, 16);
  b = (Numbers)_mm512_and_epi32(pairs, _mm512_set1_epi32(static_cast<int32_t>(0xffff0000)));
}
FOVEA_TARGET_AVX512 static inline void load_part(const c10::Half* p, int64_t n, Numbers& a, Numbers& b) {
  const __m512i halves = _mm512_maskz_loadu_epi16((1u << n) - 1, p);
  a = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
  b = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1));
}
}  // namespace avx512

#define FOVEA_ROWS "fovea/kernels/cpu/decode_rows.inl"
#include "fovea/kernels/cpu/each_isa.inl"

DecodeKernels decode_kernels(Type type) {
  return for_active_isa(baseline::kernels, avx2::kernels, avx512::kernels)(type);
}

}  // namespace fovea::kernels
