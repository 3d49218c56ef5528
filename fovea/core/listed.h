#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace fovea {

/// `a, b and c`, where `last` is "and": names in a sentence.
inline std::string listed(const std::vector<std::string>& names, std::string_view last) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0 && i + 1 < names.size()) text.append(", ");
    if (i > 0 && i + 1 == names.size()) text.append(" ").append(last).append(" ");
    text.append(names[i]);
  }
  return text;
}

}  // namespace fovea
