#include "fovea/kernels/cpu/decode_rows.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <immintrin.h>

#include <algorithm>
#include <type_traits>

#include "fovea/core/isa.h"
#include "fovea/mods/simd.h"

// g++ 12 takes the undefined parts of its own AVX-512 intrinsics for a mistake (its bug 105593).
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace fovea::kernels {

namespace baseline {
#define FOVEA_LANES 4
#define FOVEA_TARGET
#define FOVEA_MM(op) _mm_##op
using NF = simd::lanes::Native<4>::f;
using NI = simd::lanes::Native<4>::i;
static inline NF load_half(const c10::Half* p) {
  return NF{static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2]),
            static_cast<float>(p[3])};
}
static inline __m128 fold(NF x) { return x; }
#include "fovea/kernels/cpu/decode_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_MM
}  // namespace baseline

namespace avx2 {
#define FOVEA_LANES 8
#define FOVEA_TARGET __attribute__((target("avx2,fma,f16c")))
#define FOVEA_MM(op) _mm256_##op
using NF = simd::lanes::Native<8>::f;
using NI = simd::lanes::Native<8>::i;
FOVEA_TARGET static inline NF load_half(const c10::Half* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
FOVEA_TARGET static inline __m128 fold(NF x) {
  return _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
}
#include "fovea/kernels/cpu/decode_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_MM
}  // namespace avx2

namespace avx512 {
#define FOVEA_LANES 16
#define FOVEA_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,f16c")))
#define FOVEA_MM(op) _mm512_##op
using NF = simd::lanes::Native<16>::f;
using NI = simd::lanes::Native<16>::i;
FOVEA_TARGET static inline NF load_half(const c10::Half* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
FOVEA_TARGET static inline __m128 fold(NF x) {
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}
FOVEA_TARGET static inline void load_part(const float* p, int64_t n, NF& a, NF& b) {
  const uint32_t inside = (1u << n) - 1;
  a = _mm512_maskz_loadu_ps(static_cast<__mmask16>(inside), p);
  b = _mm512_maskz_loadu_ps(static_cast<__mmask16>(inside >> 16), p + 16);
}
FOVEA_TARGET static inline void load_part(const c10::BFloat16* p, int64_t n, NF& a, NF& b) {
  const __m512i pairs = _mm512_maskz_loadu_epi16((1u << n) - 1, p);
  a = (NF)_mm512_slli_epi32(pairs, 16);
  b = (NF)_mm512_and_epi32(pairs, _mm512_set1_epi32(static_cast<int32_t>(0xffff0000)));
}
FOVEA_TARGET static inline void load_part(const c10::Half* p, int64_t n, NF& a, NF& b) {
  const __m512i halves = _mm512_maskz_loadu_epi16((1u << n) - 1, p);
  a = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
  b = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1));
}
#include "fovea/kernels/cpu/decode_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_MM
}  // namespace avx512

DecodeKernels decode_kernels(Type type) {
  if (active_isa() >= Isa::avx512) return avx512::kernels_of(type);
  if (active_isa() >= Isa::avx2) return avx2::kernels_of(type);
  return baseline::kernels_of(type);
}

}  // namespace fovea::kernels
