#include "fovea/nn/attention/options.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "fovea/core/error.h"
#include "fovea/core/listed.h"
#include "fovea/core/nearest.h"

namespace fovea::nn {

std::string in_words(const WholeFrom& range) { return fmt::format("a whole number from {}", range.least); }
std::string in_words(const NumberAbove& range) { return fmt::format("a number above {}", range.bound); }
std::string in_words(const std::vector<std::string>& names) { return listed(names, "or"); }
std::string shown(bool value) { return value ? "true" : "false"; }
std::string shown(int64_t value) { return std::to_string(value); }
std::string shown(double value) { return fmt::format("{}", value); }

NamedSettings split_name(const std::string& text) {
  const auto colon = text.find(':');
  return {text.substr(0, colon), colon == std::string::npos ? "" : text.substr(colon + 1)};
}

Settings split_settings(const std::string& where, std::string text) {
  Settings settings;
  for (bool more = !text.empty(); more;) {
    const auto comma = text.find(',');
    const std::string part = text.substr(0, comma);
    more = comma != std::string::npos;
    if (more) text = text.substr(comma + 1);
    const auto equals = part.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw usage_error(where, "options are written key=value,key=value", "'" + part + "'",
                        "Write each as key=value, with a comma between two.");
    }
    if (!settings.emplace(part.substr(0, equals), part.substr(equals + 1)).second) {
      throw usage_error(where, "each option is given once", "'" + part.substr(0, equals) + "' again",
                        "Leave one out.");
    }
  }
  return settings;
}

const std::string* OptionReader::find(const std::string& name) {
  note(name);
  const auto found = settings_.find(name);
  return found == settings_.end() ? nullptr : &found->second;
}

void OptionReader::refuse(const std::string& name, const std::string& wanted) const {
  throw usage_error(where_, name + " must be " + wanted, "'" + settings_.at(name) + "'",
                    all_options() + " shows what each key takes.");
}

void OptionReader::refuse_choice(const std::string& name, const std::vector<std::string>& names) const {
  const std::string& found = settings_.at(name);
  throw usage_error(where_, name + " must be " + in_words(names), "'" + found + "'",
                    suggest_name(found, names, "Choose one of them."));
}

template <class Number>
bool OptionReader::parse(const std::string& text, Number& read) const {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), read);
  return failure == std::errc() && end == text.data() + text.size();
}

void OptionReader::operator()(const OptionText& text, bool& value) {
  const std::string* found = find(text.name);
  if (!found) return;
  if (*found != "true" && *found != "false") refuse(text.name, "true or false");
  value = *found == "true";
}

void OptionReader::operator()(const OptionText& text, int64_t& value, const WholeFrom& range) {
  const std::string* found = find(text.name);
  if (!found) return;
  // Functors count positions in 32 bits.
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max() / 2;
  if (!parse(*found, value) || value < range.least) refuse(text.name, in_words(range));
  if (value > kMost) refuse(text.name, "at most " + std::to_string(kMost));
}

void OptionReader::operator()(const OptionText& text, double& value, const AnyNumber& range) {
  const std::string* found = find(text.name);
  if (!found) return;
  if (!parse(*found, value) || !std::isfinite(value)) refuse(text.name, in_words(range));
}

void OptionReader::operator()(const OptionText& text, double& value, const NumberAbove& range) {
  if (!settings_.contains(text.name)) return note(text.name);
  (*this)(text, value, AnyNumber{});
  if (value <= range.bound) refuse(text.name, in_words(range));
}

void OptionReader::refuse_unknown() const {
  for (const auto& [name, value] : settings_) {
    bool known = false;
    for (const auto& other : known_) known |= other == name;
    if (known) continue;
    throw usage_error(where_, "the option '" + name + "' is unknown. " +
                                  suggest_name(name, known_, all_options() + " shows all."));
  }
}

}  // namespace fovea::nn
