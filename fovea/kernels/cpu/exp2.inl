// Of one instruction set, see each_isa.inl.

// 2^r for |r| <= 1 / 2: minimax, with relative error 9.2e-8, or, for results that are rounded to bfloat16 (`Narrow`),
// 1.1e-4.
template <bool Narrow>
INLINE NF polynomial(NF r) {
  NF p;
  if constexpr (Narrow) {
    p = r * 0.055008931263f + 0.242210967847f;
    p = p * r + 0.693282928059f;
  } else {
    p = r * 0.001326472725f + 0.009671512786f;
    p = p * r + 0.055507337445f;
    p = p * r + 0.240222420831f;
    p = p * r + 0.693146977598f;
  }
  return p * r + 1.0f;
}

// 2^v for v <= 0; 0 below -126, NaN stays NaN. v is split into its nearest whole number and the rest, by an instruction
// or by adding the magic number 1.5 * 2^23.
#if FOVEA_LANES == 16
template <bool Narrow>
INLINE F exp2_negative(F a) {
  const __m512 v = _mm512_loadu_ps(a.x);
  const __mmask16 there = _mm512_cmp_ps_mask(v, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);
  const NF r = _mm512_reduce_ps(v, _MM_FROUND_TO_NEAREST_INT);
  F result;
  _mm512_storeu_ps(result.x, _mm512_maskz_scalef_ps(there, polynomial<Narrow>(r), v - r));
  return result;
}
#else
template <bool Narrow>
INLINE F exp2_negative(F a) {
  NF v = *reinterpret_cast<const NF*>(a.x);
  const NI gone = v < (NF{} - 126.0f);
  v = gone ? NF{} : v;
  const NF magic = NF{} + 12582912.0f;
  const NF shifted = v + magic;
  const NF p = polynomial<Narrow>(v - (shifted - magic));
  const NI power = (reinterpret_cast<const NI&>(shifted) << 23) + 0x3f800000;
  const NF value = p * reinterpret_cast<const NF&>(power);
  F result;
  *reinterpret_cast<NI*>(result.x) = ~gone & reinterpret_cast<const NI&>(value);
  return result;
}
#endif

// The same for any v: where it is above 100, at least 2^100.
template <bool Narrow>
INLINE F exp2_or_huge(F v) {
#if FOVEA_LANES == 16
  return exp2_negative<Narrow>(v);
#else
  return exp2_negative<Narrow>(select(v > 100.0f, broadcast(100.0f, F{}), v));
#endif
}

// 1 / (1 + 2^-a), without an exponential that overflows; 0 of -infinity. NaN stays NaN.
template <bool Narrow>
INLINE F sigmoid2(F a) {
  const F small = exp2_negative<Narrow>(-abs(a));
  return select(a < 0.0f, small, broadcast(1.0f, F{})) / (small + 1.0f);
}

// The power of 2 that a score's weight is: score * factor - reference, rounded once where the instruction set can.
// Weights of equal scores are then equal wherever they are made, whatever a compiler fuses.
INLINE F weight_power(F score, float factor, F reference) {
#if FOVEA_LANES == 16
  F result;
  _mm512_storeu_ps(result.x, _mm512_fmsub_ps(_mm512_loadu_ps(score.x), _mm512_set1_ps(factor), _mm512_loadu_ps(reference.x)));
  return result;
#elif FOVEA_LANES == 8
  F result;
  _mm256_storeu_ps(result.x, _mm256_fmsub_ps(_mm256_loadu_ps(score.x), _mm256_set1_ps(factor), _mm256_loadu_ps(reference.x)));
  return result;
#else
  return score * factor - reference;
#endif
}
INLINE F weight_power(F score, float factor, float reference) {
  return weight_power(score, factor, broadcast(reference, F{}));
}
