#pragma once
#include <stdexcept>
#include <string>
#include <string_view>

namespace fovea {

/// What went wrong, as the program's exit code.
enum class ErrorKind { other = 1, usage = 2, data = 3, model_file = 4, numeric = 5, peer = 6 };

/// Every error of the library. The text has one form: `[where] rule; found X. Remedy.`
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, std::string_view where, std::string_view message)
      : std::runtime_error(text(where, message)), kind_(kind) {}

  ErrorKind kind() const { return kind_; }
  int exit_code() const { return static_cast<int>(kind_); }

 private:
  // Appended, not added: g++ 12 warns of `"[" + std::string` when it optimises (its bug 105651).
  static std::string text(std::string_view where, std::string_view message) {
    return std::string(1, '[').append(where).append("] ").append(message);
  }

  ErrorKind kind_;
};

/// A wrong call: an argument, a name, a shape that the caller chose.
inline Error usage_error(std::string_view where, std::string_view message) {
  return {ErrorKind::usage, where, message};
}

/// The same of its parts: `rule; found X. Remedy.`, where `remedy` has its full stop.
inline Error usage_error(std::string_view where, std::string_view rule, std::string_view found,
                         std::string_view remedy) {
  return usage_error(where, std::string(rule).append("; found ").append(found).append(". ").append(remedy));
}

/// Bad or missing data: an image, a data set, a tensor given as input.
inline Error data_error(std::string_view where, std::string_view message) {
  return {ErrorKind::data, where, message};
}

/// A bad model file or checkpoint.
inline Error model_file_error(std::string_view where, std::string_view message) {
  return {ErrorKind::model_file, where, message};
}

/// Numbers gone wrong: NaN, infinity.
inline Error numeric_error(std::string_view where, std::string_view message) {
  return {ErrorKind::numeric, where, message};
}

}  // namespace fovea
