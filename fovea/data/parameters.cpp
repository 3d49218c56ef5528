#include "fovea/data/parameters.h"

#include <fmt/format.h>

#include "fovea/core/error.h"

namespace fovea::data {

void require_within(const char* where, const char* name, double value, Range bounds) {
  if (value >= bounds.low && value <= bounds.high) return;
  throw usage_error(where,
                    fmt::format("{} must be in [{}, {}]; found {}.", name, bounds.low, bounds.high, value));
}

void require_range(const char* where, const char* name, Range range, Range bounds) {
  require_within(where, name, range.low, bounds);
  require_within(where, name, range.high, bounds);
  if (range.low <= range.high) return;
  throw usage_error(where,
                    fmt::format("{} must be [least, most]; found [{}, {}].", name, range.low, range.high));
}

void require_size(const char* where, PixelSize size) {
  constexpr Range bounds{1, 65536};
  require_within(where, "size", static_cast<double>(size.height), bounds);
  require_within(where, "size", static_cast<double>(size.width), bounds);
}

}  // namespace fovea::data
