#pragma once
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

// What the longer examples are told: a folder for their pictures, which is made, and whole numbers, all or
// none of them. --help shows the usage and ends the program, what does not fit the usage ends it too.

struct Arguments {
  std::filesystem::path folder = ".";
  /// Empty, or one for each of `least`.
  std::vector<int64_t> numbers;
  std::vector<std::string> words;

  Arguments(int count, char** given, const char* usage, const std::vector<int64_t>& least = {},
            bool takes_words = false) {
    const std::vector<std::string_view> texts(given + 1, given + count);
    for (const auto text : texts) {
      if (text == "--help" || text == "-h") end(usage, "", 0);
    }
    if (texts.empty()) return;
    if (texts[0].starts_with("-")) end(usage, "unknown option " + std::string(texts[0]), 2);
    for (size_t i = 1; i < texts.size(); ++i) {
      if (i > least.size() && !takes_words) end(usage, "too many arguments", 2);
      if (i > least.size()) words.emplace_back(texts[i]);
      if (i <= least.size()) numbers.push_back(number(usage, texts[i], least[i - 1]));
    }
    if (!numbers.empty() && numbers.size() < least.size()) end(usage, "too few numbers", 2);
    folder = texts[0];
    std::error_code failed;
    std::filesystem::create_directories(folder, failed);
    if (failed) end(usage, "cannot make " + folder.string() + ": " + failed.message(), 2);
  }

 private:
  static int64_t number(const char* usage, std::string_view text, int64_t least) {
    constexpr int64_t kMost = 1'000'000'000;
    int64_t value = 0;
    const auto [end_of_number, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc() && end_of_number == text.data() + text.size();
    if (!whole || value < least || value > kMost) {
      end(usage, "not a whole number from " + std::to_string(least) + " on: " + std::string(text), 2);
    }
    return value;
  }

  [[noreturn]] static void end(const char* usage, const std::string& why, int code) {
    if (!why.empty()) std::fprintf(stderr, "%s\n", why.c_str());
    std::fprintf(code == 0 ? stdout : stderr, "usage: %s\n", usage);
    std::exit(code);
  }
};

// The exit code of an example that shows `what`, 0 or 1; a 1 says what was not to be seen.
inline int exit_code(bool holds, const char* what) {
  if (!holds) std::fprintf(stderr, "not shown: %s\n", what);
  return holds ? 0 : 1;
}
