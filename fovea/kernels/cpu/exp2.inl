// Of one instruction set; for files that define F, NF, NI and INLINE.

// 2^v for v <= 0; 0 below -126. Cody-Waite with round to nearest through the magic number 1.5 * 2^23, and a
// minimax polynomial with relative error 9.2e-8, or, for results that are rounded to bfloat16 (`Narrow`), 1.1e-4.
// NaN stays NaN.
template <bool Narrow>
INLINE F exp2_negative(F a) {
  NF v = *reinterpret_cast<const NF*>(a.x);
  const NI gone = v < (NF{} - 126.0f);
  v = gone ? NF{} : v;
  const NF magic = NF{} + 12582912.0f;
  const NF shifted = v + magic;
  const NF r = v - (shifted - magic);
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
  p = p * r + 1.0f;
  const NI power = (reinterpret_cast<const NI&>(shifted) << 23) + 0x3f800000;
  const NF value = p * reinterpret_cast<const NF&>(power);
  F result;
  *reinterpret_cast<NI*>(result.x) = ~gone & reinterpret_cast<const NI&>(value);
  return result;
}

// 1 / (1 + 2^-a), without an exponential that overflows; 0 of -infinity. NaN stays NaN.
template <bool Narrow>
INLINE F sigmoid2(F a) {
  const F small = exp2_negative<Narrow>(-abs(a));
  return select(a < 0.0f, small, broadcast(1.0f, F{})) / (small + 1.0f);
}
