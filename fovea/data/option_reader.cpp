#include "fovea/data/option_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/io/json_text.h"

namespace fovea::data {
namespace {

using nlohmann::json;

// Integers beyond this are no sizes or counts, and would overflow on the way.
constexpr int64_t kMost = int64_t{1} << 31;

bool is_integer(const json& value) {
  return value.is_number_integer() && value.get<double>() <= kMost && value.get<double>() >= -kMost;
}

bool all_numbers(const json& list) {
  return list.is_array() &&
         std::all_of(list.begin(), list.end(), [](const json& x) { return x.is_number(); });
}

}  // namespace

OptionReader::OptionReader(std::string transform, const json& options)
    : transform_(std::move(transform)), options_(options.is_null() ? json::object() : options) {
  if (options_.is_object()) return;
  throw usage_error("transform", fmt::format("{}: options must be an object {{name: value}}; found {}.",
                                             transform_, io::show_json(options_)));
}

const json& OptionReader::raw(const char* name) {
  static const json none;
  known_.emplace_back(name);
  const auto found = options_.find(name);
  return found == options_.end() ? none : *found;
}

void OptionReader::refuse(const char* name, std::string_view rule) const {
  const auto found = options_.find(name);
  const std::string value = found == options_.end() ? "nothing" : io::show_json(*found);
  throw usage_error("transform", fmt::format("{}: {} must be {}; found {}.", transform_, name, rule, value));
}

bool OptionReader::boolean(const char* name, bool otherwise) {
  const json& value = raw(name);
  if (value.is_null()) return otherwise;
  if (!value.is_boolean()) refuse(name, "true or false");
  return value.get<bool>();
}

double OptionReader::number(const char* name, double otherwise) {
  const json& value = raw(name);
  if (value.is_null()) return otherwise;
  if (!value.is_number()) refuse(name, "a number");
  return value.get<double>();
}

int64_t OptionReader::integer(const char* name, int64_t otherwise) {
  const json& value = raw(name);
  if (value.is_null()) return otherwise;
  if (!is_integer(value)) refuse(name, "an integer");
  return value.get<int64_t>();
}

std::string OptionReader::text(const char* name, const std::string& otherwise) {
  const json& value = raw(name);
  if (value.is_null()) return otherwise;
  if (!value.is_string()) refuse(name, "a text");
  return value.get<std::string>();
}

Range OptionReader::range(const char* name, Range otherwise) {
  const json& value = raw(name);
  if (value.is_null()) return otherwise;
  if (!all_numbers(value) || value.size() != 2) refuse(name, "two numbers [least, most]");
  return {value[0].get<double>(), value[1].get<double>()};
}

PixelSize OptionReader::size(const char* name) {
  const json& value = raw(name);
  if (is_integer(value)) return {value.get<int64_t>(), value.get<int64_t>()};
  const bool is_pair = value.is_array() && value.size() == 2 && is_integer(value[0]) && is_integer(value[1]);
  if (!is_pair) refuse(name, "an integer or [height, width]");
  return {value[0].get<int64_t>(), value[1].get<int64_t>()};
}

std::vector<double> OptionReader::numbers(const char* name, const std::vector<double>& otherwise) {
  const json& value = raw(name);
  if (value.is_null()) return otherwise;
  if (value.is_number()) return {value.get<double>()};
  if (!all_numbers(value)) refuse(name, "a number or a list of numbers");
  return value.get<std::vector<double>>();
}

void OptionReader::finish() const {
  for (const auto& item : options_.items()) {
    if (std::find(known_.begin(), known_.end(), item.key()) != known_.end()) continue;
    const std::string all =
        known_.empty() ? "It has no options." : fmt::format("It has {}.", fmt::join(known_, ", "));
    throw usage_error("transform", fmt::format("{} has no option '{}'. {}", transform_, item.key(),
                                               suggest_name(item.key(), known_, all)));
  }
}

}  // namespace fovea::data
