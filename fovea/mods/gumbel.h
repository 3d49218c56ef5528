#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "fovea/core/random.h"
#include "fovea/mods/at.h"
#include "fovea/mods/philox_lanes.h"

// Gumbel noise of a pair, -log(-log u) with u uniform: a function of a seed and of (batch, head, q, k) alone,
// from the first word of philox(seed, {k, q, head, batch}).
//
// It is made of x = 1 - u, whose digits do not end where the noise is large.

namespace fovea {

inline float gumbel_of_bits(uint32_t bits) {
  const float x = (static_cast<float>(bits >> 1) + 0.5f) * 0x1p-31f;
  return static_cast<float>(-std::log(-std::log1p(-static_cast<double>(std::min(x, 0x1.fffffep-1f)))));
}

inline float gumbel(uint64_t seed, const At<int32_t, int32_t>& at) {
  const auto word = [](int32_t n) { return static_cast<uint32_t>(n); };
  return gumbel_of_bits(philox(seed, {word(at.k), word(at.q), word(at.head), word(at.batch)})[0]);
}

template <int N>
simd::Floats<N> gumbel_lanes(uint64_t seed, const simd::Ints<N> (&counters)[4]) {
  const simd::Floats<N> x = uniform_of_bits(philox_first(seed, counters));
  // -log(1 - x) as what 1 - x really is says it, and then of x by the quotient of the two.
  const simd::Floats<N> u = 1.0f - x, lost = 1.0f - u, power = -(log(u) * (x / lost));
  return -log(select(lost > 0.0f, power, x));
}

template <int N>
simd::Floats<N> gumbel(uint64_t seed, const At<int32_t, simd::Ints<N>>& at) {
  using Lanes = simd::Ints<N>;
  return gumbel_lanes<N>(
      seed, {at.k, broadcast(at.q, Lanes{}), broadcast(at.head, Lanes{}), broadcast(at.batch, Lanes{})});
}
template <int N>
simd::Floats<N> gumbel(uint64_t seed, const At<simd::Ints<N>, int32_t>& at) {
  using Lanes = simd::Ints<N>;
  return gumbel_lanes<N>(
      seed, {broadcast(at.k, Lanes{}), at.q, broadcast(at.head, Lanes{}), broadcast(at.batch, Lanes{})});
}

/// (s + g) factor, g the pair's Gumbel noise: the key of the largest is drawn with probability softmax(s),
/// and the k largest are k draws without replacement. A softmax of it, factor = 1 / temperature, is a relaxed
/// draw. Source: Gumbel-softmax (Jang et al. 2017), section 2; Concrete distribution (Maddison et al. 2017),
/// section 3; Stochastic beams (Kool et al. 2019), 2.3.
struct GumbelNoise {
  uint64_t seed = 0;
  float factor = 1.0f;

  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>& at) const {
    return (s + gumbel(seed, at)) * factor;
  }
};

}  // namespace fovea
