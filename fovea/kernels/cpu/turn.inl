// Of one instruction set, see each_isa.inl; for files that include lanes.h.

typedef int32_t Words __attribute__((vector_size(4 * FOVEA_LANES), aligned(4), may_alias));

// FOVEA_LANES rows become columns, in steps of half their length, a quarter, ... 1.
template <int kStep = FOVEA_LANES / 2>
INLINE void turn(Words (&row)[FOVEA_LANES]) {
  constexpr const auto& lanes = kExchangedLanes<FOVEA_LANES, kStep>;
  const Words first = *reinterpret_cast<const Words*>(lanes.first), second = *reinterpret_cast<const Words*>(lanes.second);
#pragma GCC unroll 16
  for (int i = 0; i < FOVEA_LANES; ++i) {
    if (i & kStep) continue;
    const Words a = row[i], b = row[i + kStep];
    row[i] = __builtin_shuffle(a, b, first);
    row[i + kStep] = __builtin_shuffle(a, b, second);
  }
  if constexpr (kStep > 1) turn<kStep / 2>(row);
}
