#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace fovea {

/// `value` with `separator` between its groups of three digits, without a locale: 21,797,672.
inline std::string grouped_number(int64_t value, std::string_view separator) {
  std::string digits = std::to_string(value);
  const size_t sign = value < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > 3 + sign; at -= 3) digits.insert(at - 3, separator);
  return digits;
}

}  // namespace fovea
