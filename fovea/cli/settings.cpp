#include "fovea/cli/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "fovea/core/error.h"
#include "fovea/io/file.h"
#include "fovea/io/json_text.h"
#include "fovea/io/utf8.h"

namespace fovea::cli {
namespace {

using nlohmann::json;

constexpr size_t kLargestFile = size_t{16} << 20;

// Refuses a key that its object already has; nlohmann would keep the last one without a word.
class DuplicateKeys {
 public:
  explicit DuplicateKeys(const std::string& where) : where_(where) {}

  bool operator()(int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) open_.emplace_back();
    if (event == json::parse_event_t::object_end) open_.pop_back();
    if (event == json::parse_event_t::key && !open_.back().insert(parsed.get<std::string>()).second) {
      throw usage_error(where_, fmt::format("the key {} is given twice. Keep one.",
                                            io::quote_text(parsed.get<std::string>())));
    }
    return true;
  }

 private:
  std::string where_;
  std::vector<std::set<std::string>> open_;
};

// nlohmann's message without its number and the copy of what was read.
std::string json_fault(const json::exception& error) {
  std::string text = error.what();
  if (const auto end = text.find("] "); end != std::string::npos) text = text.substr(end + 2);
  return text;
}

}  // namespace

json parse_strictly(const std::string& text, const std::string& where) {
  if (const std::string fault = io::json_text_fault(text); !fault.empty())
    throw usage_error(where, fmt::format("is no configuration: {}. Correct it there.", fault));
  auto duplicates = std::make_shared<DuplicateKeys>(where);
  try {
    return json::parse(text, [duplicates](int depth, json::parse_event_t event, json& parsed) {
      return (*duplicates)(depth, event, parsed);
    });
  } catch (const json::exception& error) {
    throw usage_error(where, fmt::format("is not valid JSON: {}. Correct it there.", json_fault(error)));
  }
}

json read_settings(const std::filesystem::path& file) {
  const std::string where = file.string();
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored)) {
    throw usage_error(where, "there is no such configuration file. Give --config a JSON file.");
  }
  json settings = parse_strictly(io::read_file(file, kLargestFile), where);
  if (!settings.is_object()) {
    throw usage_error(
        where, fmt::format("a configuration is one JSON object; found {}. Write {{\"key\": value, ...}}.",
                           settings.type_name()));
  }
  return settings;
}

void merge_settings(json& settings, const json& above) {
  for (const auto& [key, value] : above.items()) {
    if (value.is_object() && settings.contains(key) && settings[key].is_object()) {
      merge_settings(settings[key], value);
    } else {
      settings[key] = value;
    }
  }
}

void assign(json& settings, const std::string& key, json value) {
  const auto dot = key.find('.');
  const std::string head = key.substr(0, dot);
  if (head.empty())
    throw usage_error("--set", "a key has an empty part. Write key=value or section.key=value.");
  if (dot == std::string::npos) {
    if (value.is_object() && settings.contains(head) && settings[head].is_object()) {
      merge_settings(settings[head], value);
    } else {
      settings[head] = std::move(value);
    }
    return;
  }
  if (!settings.contains(head)) settings[head] = json::object();
  if (!settings[head].is_object()) {
    throw usage_error(
        "--set", fmt::format("'{}' is a value, not a section, so '{}' cannot be set. Set '{}' itself.", head,
                             key, head));
  }
  assign(settings[head], key.substr(dot + 1), std::move(value));
}

void assign_text(json& settings, const std::string& key_and_value) {
  if (!io::is_utf8(key_and_value)) {
    throw usage_error("--set",
                      fmt::format("takes UTF-8, as configurations are JSON; found {}. Write it in UTF-8.",
                                  io::quote_text(key_and_value)));
  }
  const auto equals = key_and_value.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw usage_error("--set", fmt::format("takes KEY=VALUE; found {}. Write for example lr=0.1.",
                                           io::quote_text(key_and_value)));
  }
  const std::string key = key_and_value.substr(0, equals), text = key_and_value.substr(equals + 1);
  if (std::count(key.begin(), key.end(), '.') >= io::kJsonLevels)
    throw usage_error("--set",
                      fmt::format("a key has at most {} parts. Write section.key=value.", io::kJsonLevels));
  // Only what is JSON to the last letter is JSON: softmax, 1e and [a,b] are text.
  if (json::accept(text)) {
    assign(settings, key, parse_strictly(text, "--set " + key));
    return;
  }
  try {
    // accept() also refuses numbers that are too large; those must not become text.
    [[maybe_unused]] const json read = json::parse(text);
  } catch (const json::out_of_range&) {
    throw usage_error("--set " + key,
                      fmt::format("the number {} is too large. Give a finite one.", io::quote_text(text)));
  } catch (const json::parse_error&) {
  }
  assign(settings, key, text);
}

}  // namespace fovea::cli
