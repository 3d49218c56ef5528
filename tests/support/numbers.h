#pragma once
#include <limits>

namespace fovea::test {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity(),
                        kNan = std::numeric_limits<double>::quiet_NaN();

}  // namespace fovea::test
