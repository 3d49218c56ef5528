// Operands as vectors of floats, and back; of one instruction set, see each_isa.inl.
#include "fovea/kernels/cpu/floats.inl"

typedef uint16_t Shorts __attribute__((vector_size(2 * FOVEA_LANES), aligned(2), may_alias));

INLINE NF load_number(const float* p) { return *reinterpret_cast<const NF*>(p); }
INLINE NF load_number(const c10::BFloat16* p) {
  return (NF)(__builtin_convertvector(*reinterpret_cast<const Shorts*>(p), NI) << 16);
}
INLINE NF load_number(const c10::Half* p) {
#if FOVEA_LANES == 16
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif FOVEA_LANES == 8
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  return NF{static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2]), static_cast<float>(p[3])};
#endif
}

// Of lanes that are 0 or -1.
INLINE bool any(NI lanes) {
#if FOVEA_LANES == 16
  return _mm512_movepi32_mask((__m512i)lanes) != 0;
#elif FOVEA_LANES == 8
  return _mm256_movemask_ps((__m256)lanes) != 0;
#else
  return _mm_movemask_ps((__m128)lanes) != 0;
#endif
}

// The bits of the nearest bfloat16, ties to even, in the upper half of each lane, which is a float again; NaN stays NaN.
INLINE NI bf16_bits(NF x) {
  const NI bits = (NI)x;
  const NI nan = (bits & 0x7fffffff) > 0x7f800000;
  const NI nearest = bits + 0x7fff + ((bits >> 16) & 1);
  return (nan ? (NI{} + 0x7fc00000) : nearest) & static_cast<int32_t>(0xffff0000);
}

INLINE void store_number(float* p, NF x) { *reinterpret_cast<NF*>(p) = x; }
INLINE void store_bits(c10::BFloat16* p, NI bf16) {
  *reinterpret_cast<Shorts*>(p) = __builtin_convertvector((bf16 >> 16) & 0xffff, Shorts);
}
INLINE void store_number(c10::BFloat16* p, NF x) { store_bits(p, bf16_bits(x)); }
INLINE void store_number(c10::Half* p, NF x) {
#if FOVEA_LANES == 16
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT));
#elif FOVEA_LANES == 8
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT));
#else
  for (int i = 0; i < 4; ++i) p[i] = c10::Half(x[i]);
#endif
}

// The first n numbers, at most a vector of them, and 0.
template <class T>
INLINE NF load_first(const T* p, int64_t n) {
  if (n >= FOVEA_LANES) return load_number(p);
  T numbers[FOVEA_LANES] = {};
  for (int64_t i = 0; i < n; ++i) numbers[i] = p[i];
  return load_number(numbers);
}

template <class T>
INLINE void store_first(T* p, int64_t n, NF x) {
  if (n >= FOVEA_LANES) return store_number(p, x);
  T numbers[FOVEA_LANES];
  store_number(numbers, x);
  for (int64_t i = 0; i < n; ++i) p[i] = numbers[i];
}
