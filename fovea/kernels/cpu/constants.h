#pragma once
#include <cmath>
#include <limits>
#include <numbers>

namespace fovea::kernels {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kLog2E = std::numbers::log2e_v<float>, kLn2 = std::numbers::ln2_v<float>;

/// The natural log-sum-exp of a row from its state in units of log2: `sum` of exp2(score - maximum) over the
/// scores it sees; -inf where it sees none.
inline float natural_lse(float maximum, float sum) {
  return sum == 0.0f ? -kInfinity : (maximum + std::log2(sum)) * kLn2;
}

}  // namespace fovea::kernels
