#pragma once
#include <cstdint>

// Lane numbers for shuffles, known when compiling. L is a vector's length.

namespace fovea::kernels {

/// Where the lanes of two rows a and b, numbered 0 ... L - 1 and L ... 2L - 1, go when they exchange what is
/// off the diagonal of a square of 2 by 2 blocks of kStep lanes.
template <int L, int kStep>
struct alignas(4 * L) ExchangedLanes {
  int32_t first[L] = {}, second[L] = {};

  constexpr ExchangedLanes() {
    for (int l = 0; l < L; ++l) {
      first[l] = l & kStep ? l - kStep + L : l;
      second[l] = l & kStep ? l + L : l + kStep;
    }
  }
};
template <int L, int kStep>
inline constexpr ExchangedLanes<L, kStep> kExchangedLanes;

/// Of two rows behind each other, numbered as above: the lanes that are every other one from kFirst on, and
/// back: those of the two rows by turns, from the first or the second half on.
template <int L, int kFirst>
struct alignas(4 * L) AlternateLanes {
  int32_t apart[L] = {}, by_turns[L] = {};

  constexpr AlternateLanes() {
    for (int l = 0; l < L; ++l) {
      apart[l] = 2 * l + kFirst;
      by_turns[l] = l / 2 + kFirst * L / 2 + l % 2 * L;
    }
  }
};
template <int L, int kFirst>
inline constexpr AlternateLanes<L, kFirst> kAlternateLanes;

/// Each lane's partner kStep away.
template <int L, int kStep>
struct alignas(4 * L) PartnerLanes {
  int32_t lane[L] = {};

  constexpr PartnerLanes() {
    for (int l = 0; l < L; ++l) lane[l] = l ^ kStep;
  }
};
template <int L, int kStep>
inline constexpr PartnerLanes<L, kStep> kPartnerLanes;

}  // namespace fovea::kernels
