#pragma once
#include <cstdint>

namespace fovea {

/// How many blocks of `size` hold `length`, the last perhaps in part: ceil(length / size), length >= 0, size
/// >= 1.
constexpr int64_t ceil_div(int64_t length, int64_t size) { return (length + size - 1) / size; }

}  // namespace fovea
