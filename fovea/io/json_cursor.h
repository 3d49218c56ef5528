#pragma once
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace fovea::io {

/// The text is no JSON. `what()` tells what was expected and at which byte.
class JsonSyntaxError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Reads JSON whose structure is known beforehand, front to back (RFC 8259).
///
/// It has no tree and no recursion, so that a hostile text costs no more memory than one copy of its longest
/// string; a general reader would keep the last of two equal keys without a word. The text must be UTF-8 and
/// outlive this.
class JsonCursor {
 public:
  explicit JsonCursor(std::string_view text) : text_(text) {}

  /// The next character that is no white space; 0 at the end.
  char peek();

  /// Whether that character is `wanted`, which is then passed.
  bool take(char wanted);

  /// take(), or JsonSyntaxError.
  void expect(char wanted);

  /// Only white space is left.
  bool at_end();

  /// A string, unescaped. JsonSyntaxError if there is none or it is malformed.
  std::string string();

  /// A whole number 0 .. 2^64 - 1 in its only plain notation; nothing (and no step) for any other value, such
  /// as -0, 01, 1.0, 1e0, null or "1".
  std::optional<uint64_t> whole_number();

  /// The next few characters, quoted, for messages.
  std::string excerpt();

 private:
  [[noreturn]] void fail(const std::string& expected);
  void append_escape(std::string& out);
  uint32_t hex4();

  std::string_view text_;
  size_t at_ = 0;
};

/// Appends `text` as a JSON string; of UTF-8, only what must be is escaped: quotes, backslashes, control
/// characters.
void append_json_string(std::string& out, std::string_view text);

}  // namespace fovea::io
