#pragma once
#include <cstdint>

namespace fovea {

/// How many blocks of `size` hold `length`, the last perhaps in part: ceil(length / size), length >= 0, size
/// >= 1.
constexpr int64_t ceil_div(int64_t length, int64_t size) { return (length + size - 1) / size; }

/// The next multiple of `step`: length itself where it is one.
constexpr int64_t round_up(int64_t length, int64_t step) { return ceil_div(length, step) * step; }

}  // namespace fovea
