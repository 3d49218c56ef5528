#pragma once
#include <string>
#include <string_view>

namespace fovea::io {

/// Whether `text` is UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF (RFC 3629).
bool is_utf8(std::string_view text);

/// The start of `text`, at most `max_bytes` long, that does not end within a character.
std::string_view utf8_prefix(std::string_view text, size_t max_bytes);

/// `'text'` for an error message: control characters and broken UTF-8 become `?`, and what exceeds
/// `max_bytes` is left out, since file contents may be hostile to terminals and long.
std::string quote_text(std::string_view text, size_t max_bytes = 80);

}  // namespace fovea::io
