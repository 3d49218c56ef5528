#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <string>

#include "fovea/core/random.h"

namespace fovea::data {

/// An interval that a transform draws from.
struct Range {
  double low = 0, high = 0;

  double draw(Random& random) const { return random.uniform(low, high); }
  /// Uniform in the logarithm, as aspect ratios are drawn.
  double draw_log(Random& random) const { return std::exp(random.uniform(std::log(low), std::log(high))); }
  std::array<double, 2> pair() const { return {low, high}; }
};

/// An image's size in pixels.
struct PixelSize {
  int64_t height = 0, width = 0;

  std::array<int64_t, 2> pair() const { return {height, width}; }
};

/// Throws Error (usage) `[where] name must be in [low, high]; found value.` unless it is (NaN is not).
void require_within(const char* where, const char* name, double value, Range bounds);

/// The same for both ends of a range, which must be in order.
void require_range(const char* where, const char* name, Range range, Range bounds);

/// Throws Error (usage) unless both are in [1, 65536].
void require_size(const char* where, PixelSize size);

/// True with probability p.
inline bool happens(double p, Random& random) { return random.uniform() < p; }

/// Uniform in {0, ..., most}.
inline int64_t offset_up_to(int64_t most, Random& random) {
  return static_cast<int64_t>(random.below(static_cast<uint64_t>(most) + 1));
}

/// Python's round(): halves go to the even neighbour.
inline int64_t round_half_even(double x) { return static_cast<int64_t>(std::nearbyint(x)); }

}  // namespace fovea::data
