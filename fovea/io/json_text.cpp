#include "fovea/io/json_text.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "fovea/io/utf8.h"

namespace fovea::io {

std::string json_text_fault(std::string_view text) {
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos)
    return fmt::format("byte {} is zero", zero);
  int level = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      quoted = !quoted;
    } else if (quoted) {
      if (c == '\\') ++i;
    } else if (c == '[' || c == '{') {
      if (++level > kJsonLevels) return fmt::format("it nests more than {} levels deep", kJsonLevels);
    } else if (c == ']' || c == '}') {
      --level;
    }
  }
  return "";
}

std::string show_json(const nlohmann::json& value) {
  constexpr size_t kMost = 80;
  const std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text.size() <= kMost) return text;
  return std::string(utf8_prefix(text, kMost)) + "...";
}

}  // namespace fovea::io
