#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/data/parameters.h"

namespace fovea::data {

/// Reads the options of one transform from a JSON object, each with a default. Every getter throws Error
/// (usage) naming the transform and the option for a value of the wrong kind. finish() then refuses what
/// nobody asked for.
class OptionReader {
 public:
  /// options: an object, or null for none.
  OptionReader(std::string transform, const nlohmann::json& options);

  bool boolean(const char* name, bool otherwise);
  double number(const char* name, double otherwise);
  int64_t integer(const char* name, int64_t otherwise);
  std::string text(const char* name, const std::string& otherwise);
  Range range(const char* name, Range otherwise);

  /// A number n, which becomes a pair of n, or [height, width]. Required.
  PixelSize size(const char* name);

  /// One number or a list of numbers.
  std::vector<double> numbers(const char* name, const std::vector<double>& otherwise);

  /// The value itself, null when it is not given.
  const nlohmann::json& raw(const char* name);

  /// Throws Error (usage), with the nearest name, for an option that no getter asked for.
  void finish() const;

  /// An error about one option: `[transform] name must be rule; found value.`
  [[noreturn]] void refuse(const char* name, std::string_view rule) const;

 private:
  std::string transform_;
  nlohmann::json options_;
  std::vector<std::string> known_;
};

}  // namespace fovea::data
