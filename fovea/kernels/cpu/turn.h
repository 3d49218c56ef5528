#pragma once
#include <cstdint>

namespace fovea::kernels {

/// Where the lanes of two rows a and b, numbered 0 ... L - 1 and L ... 2L - 1, go when they exchange what is
/// off the diagonal of a square of 2 by 2 blocks of `step` lanes.
template <int L>
struct alignas(4 * L) ExchangedLanes {
  int32_t first[L], second[L];
};

template <int L, int kStep>
constexpr ExchangedLanes<L> exchanged_lanes() {
  ExchangedLanes<L> lanes = {};
  for (int l = 0; l < L; ++l) {
    lanes.first[l] = l & kStep ? l - kStep + L : l;
    lanes.second[l] = l & kStep ? l + L : l + kStep;
  }
  return lanes;
}

template <int L, int kStep>
inline constexpr ExchangedLanes<L> kExchangedLanes = exchanged_lanes<L, kStep>();

}  // namespace fovea::kernels
