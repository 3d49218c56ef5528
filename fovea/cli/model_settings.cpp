#include "fovea/cli/model_settings.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "fovea/cli/settings.h"
#include "fovea/core/error.h"
#include "fovea/models/registry.h"

namespace fovea::cli {

using nlohmann::json;

json model_settings(const Call& call) {
  json settings = json::object();
  if (const auto file = call.get("--config")) {
    settings = read_settings(*file);
    if (settings.contains("model") && settings["model"].is_object()) settings = json(settings["model"]);
    settings.erase("name");
  }
  for (std::string pair : call.all("--set")) {
    if (pair.starts_with("model.")) pair.erase(0, 6);
    assign_text(settings, pair);
  }
  return settings;
}

std::vector<std::string> model_keys() {
  std::set<std::string> families, keys;
  for (const auto& entry : models::model_entries()) {
    if (!families.insert(entry.family).second) continue;
    const json settings = models::model_config(entry.name, json::object());
    for (const auto& [key, value] : settings.items()) keys.insert(key);
  }
  return {keys.begin(), keys.end()};
}

std::vector<int64_t> parse_shape(const Call& call, const std::string& flag) {
  constexpr int64_t kLargest = int64_t{1} << 20;
  const std::string text = call.get(flag, "");
  std::vector<int64_t> shape;
  const char* at = text.data();
  const char* end = at + text.size();
  while (true) {
    int64_t size = 0;
    const auto [stop, fault] = std::from_chars(at, end, size);
    const bool good = fault == std::errc{} && size > 0 && size <= kLargest && (stop == end || *stop == 'x');
    if (!good || shape.size() == 4) {
      throw usage_error(
          call.command(),
          fmt::format("{} takes sizes joined by x, as 3x224x224; found '{}'. Give channels, height and "
                      "width.",
                      flag, text));
    }
    shape.push_back(size);
    if (stop == end) return shape;
    at = stop + 1;
  }
}

}  // namespace fovea::cli
