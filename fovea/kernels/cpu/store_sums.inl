// Of one instruction set, see each_isa.inl; for files that include immintrin.h.

#if FOVEA_LANES == 16
#define MM(op) _mm512_##op
INLINE __m128 fold(NF x) {
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}
#elif FOVEA_LANES == 8
#define MM(op) _mm256_##op
INLINE __m128 fold(NF x) { return _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)); }
#else
#define MM(op) _mm_##op
INLINE __m128 fold(NF x) { return x; }
#endif

// The sums of the lanes of a, b, c, d, one after the other.
INLINE void store_sums(NF a, NF b, NF c, NF d, float* to) {
  const NF ab = MM(unpacklo_ps)(a, b) + MM(unpackhi_ps)(a, b);
  const NF cd = MM(unpacklo_ps)(c, d) + MM(unpackhi_ps)(c, d);
  _mm_storeu_ps(to, fold(MM(shuffle_ps)(ab, cd, 0x44) + MM(shuffle_ps)(ab, cd, 0xee)));
}
#undef MM
