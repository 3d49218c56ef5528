#include "fovea/io/json_cursor.h"

#include <fmt/format.h>

#include "fovea/io/utf8.h"

namespace fovea::io {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | (code >> 18));
    out += static_cast<char>(0x80 | ((code >> 12) & 0x3f));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

}  // namespace

char JsonCursor::peek() {
  while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  return at_ < text_.size() ? text_[at_] : '\0';
}

bool JsonCursor::take(char wanted) {
  if (peek() != wanted || at_ == text_.size()) return false;
  ++at_;
  return true;
}

void JsonCursor::expect(char wanted) {
  if (!take(wanted)) fail(fmt::format("'{}'", wanted));
}

bool JsonCursor::at_end() {
  peek();
  return at_ == text_.size();
}

std::string JsonCursor::string() {
  if (!take('"')) fail("a string");
  // The raw length bounds the unescaped one, so that one allocation does.
  size_t stop = at_;
  while (stop < text_.size() && text_[stop] != '"') stop += text_[stop] == '\\' ? 2 : 1;
  if (stop >= text_.size()) fail("the quote that ends a string");
  std::string out;
  out.reserve(stop - at_);
  while (at_ < stop) {
    const char c = text_[at_];
    if (static_cast<uint8_t>(c) < 0x20) fail("no control character inside a string");
    ++at_;
    if (c == '\\') {
      append_escape(out);
    } else {
      out += c;
    }
  }
  ++at_;
  return out;
}

void JsonCursor::append_escape(std::string& out) {
  constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
  const char letter = text_[at_];
  if (const size_t known = kLetters.find(letter); known != std::string_view::npos) {
    out += kMeanings[known];
    ++at_;
    return;
  }
  if (letter != 'u') fail("an escape of JSON");
  ++at_;
  uint32_t code = hex4();
  if (code >= 0xdc00 && code <= 0xdfff) fail("a high surrogate before a low one");
  if (code >= 0xd800 && code <= 0xdbff) {
    if (text_.substr(at_, 2) != "\\u") fail("a low surrogate");
    at_ += 2;
    const uint32_t low = hex4();
    if (low < 0xdc00 || low > 0xdfff) fail("a low surrogate");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  append_utf8(out, code);
}

uint32_t JsonCursor::hex4() {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i, ++at_) {
    const char c = at_ < text_.size() ? text_[at_] : '\0';
    if (is_digit(c)) {
      value = value * 16 + static_cast<uint32_t>(c - '0');
    } else if (const char lower = static_cast<char>(c | 0x20); lower >= 'a' && lower <= 'f') {
      value = value * 16 + static_cast<uint32_t>(lower - 'a') + 10;
    } else {
      fail("four hexadecimal digits");
    }
  }
  return value;
}

std::optional<uint64_t> JsonCursor::whole_number() {
  peek();
  size_t stop = at_;
  uint64_t value = 0;
  for (; stop < text_.size() && is_digit(text_[stop]); ++stop) {
    if (__builtin_mul_overflow(value, uint64_t{10}, &value) ||
        __builtin_add_overflow(value, static_cast<uint64_t>(text_[stop] - '0'), &value)) {
      return std::nullopt;
    }
  }
  const size_t digits = stop - at_;
  if (digits == 0 || (digits > 1 && text_[at_] == '0')) return std::nullopt;
  if (stop < text_.size() && std::string_view(".eE").find(text_[stop]) != std::string_view::npos) {
    return std::nullopt;
  }
  at_ = stop;
  return value;
}

std::string JsonCursor::excerpt() {
  return at_end() ? "the end of the text" : quote_text(text_.substr(at_, 40), 24);
}

void JsonCursor::fail(const std::string& expected) {
  const size_t where = at_;
  throw JsonSyntaxError(fmt::format("expected {} at byte {}, found {}", expected, where, excerpt()));
}

void append_json_string(std::string& out, std::string_view text) {
  constexpr std::string_view kLetters = "bfnrt\"\\", kMeanings = "\b\f\n\r\t\"\\";
  out += '"';
  for (const char c : text) {
    if (const size_t known = kMeanings.find(c); known != std::string_view::npos) {
      out += '\\';
      out += kLetters[known];
    } else if (static_cast<uint8_t>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<uint8_t>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace fovea::io
