// Of one instruction set, see each_isa.inl; for files that include lanes.h.

// Each lane beside its partner kStep away.
template <int kStep>
INLINE F partners(F x) {
  F other;
  const NI lanes = *reinterpret_cast<const NI*>(kPartnerLanes<FOVEA_LANES, kStep>.lane);
  *reinterpret_cast<NF*>(other.x) = __builtin_shuffle(*reinterpret_cast<const NF*>(x.x), lanes);
  return other;
}

template <int kStep = FOVEA_LANES / 2>
INLINE float sum_of(F x) {
  x = x + partners<kStep>(x);
  if constexpr (kStep > 1) return sum_of<kStep / 2>(x);
  return x.x[0];
}

template <int kStep = FOVEA_LANES / 2>
INLINE float largest_of(F x) {
  x = max(x, partners<kStep>(x));
  if constexpr (kStep > 1) return largest_of<kStep / 2>(x);
  return x.x[0];
}
