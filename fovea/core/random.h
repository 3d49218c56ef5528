#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

namespace fovea {

/// Philox4x32-10: 128 random bits as a pure function of a 64-bit key and a 128-bit counter.
/// Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (SC 2011), section 4.3.
inline std::array<uint32_t, 4> philox(uint64_t key, std::array<uint32_t, 4> counter) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * counter[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ k0, static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return counter;
}

/// A stream of random numbers that depends on (seed, stream, index) alone, never on a thread or on what was
/// drawn before: `Random(seed, epoch, sample)` gives a sample its own numbers. Satisfies
/// UniformRandomBitGenerator.
class Random {
 public:
  using result_type = uint32_t;

  explicit Random(uint64_t seed, uint32_t stream = 0, uint64_t index = 0)
      : key_(seed), counter_{0, stream, static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32)} {}

  static constexpr uint32_t min() { return 0; }
  static constexpr uint32_t max() { return std::numeric_limits<uint32_t>::max(); }

  uint32_t operator()() {
    if (used_ == 4) {
      block_ = philox(key_, counter_);
      ++counter_[0];
      used_ = 0;
    }
    return block_[used_++];
  }

  /// Uniform in [0, 1), 53 random bits.
  double uniform() {
    const uint64_t high = (*this)() >> 5, low = (*this)() >> 6;
    return static_cast<double>(high * 67108864 + low) / 9007199254740992.0;
  }

  /// Uniform in [low, high).
  double uniform(double low, double high) { return low + (high - low) * uniform(); }

  /// Uniform in {0, ..., n - 1}, n >= 1, without bias (rejection).
  uint64_t below(uint64_t n) {
    const uint64_t limit = std::numeric_limits<uint64_t>::max() - std::numeric_limits<uint64_t>::max() % n;
    uint64_t bits = 0;
    do {
      bits = (uint64_t{(*this)()} << 32) | (*this)();
    } while (bits >= limit);
    return bits % n;
  }

  /// Normal with mean 0 and variance 1 (Box and Muller).
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
  }

 private:
  uint64_t key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
};

/// A random permutation of 0 ... n - 1 (Fisher and Yates).
inline std::vector<int64_t> permutation(int64_t n, Random random) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = n - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
  return order;
}

}  // namespace fovea
