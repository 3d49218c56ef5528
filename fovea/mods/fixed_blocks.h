#pragma once
#include <cstdint>

#include "fovea/mods/mask.h"

namespace fovea {

/// Keys of the query's own block of `stride` positions, at or before it, and the last `summary` keys of every
/// earlier block.   1 <= summary <= stride. Source: Generating long sequences with sparse transformers (Child
/// et al. 2019), 4.3, `fixed`, where summary is c.
struct FixedBlocks : Mask {
  int32_t stride, summary;

  FixedBlocks(int32_t stride, int32_t summary) : stride(stride), summary(summary) {}

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    const auto own = (at.q - at.q % stride) == (at.k - at.k % stride);
    return (at.k <= at.q) & (own | (at.k % stride >= stride - summary));
  }
  Cover cover(const TileRange& t) const {
    if (t.k0 > t.q1 - 1) return Cover::skip;
    const int64_t first = t.k0 / stride, last = (t.k1 - 1) / stride;
    if (t.k1 - 1 <= t.q0 && first == (t.q1 - 1) / stride) return Cover::full;
    // In one block before all of the queries', and not at its end.
    const bool before = last < t.q0 / stride && first == last && (t.k1 - 1) % stride < stride - summary;
    return before ? Cover::skip : Cover::partial;
  }
};

}  // namespace fovea
