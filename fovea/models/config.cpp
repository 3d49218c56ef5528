#include "fovea/models/config.h"

#include <algorithm>

#include "fovea/core/nearest.h"

namespace fovea::models {

using nlohmann::json;

ConfigReader::ConfigReader(std::string where, const json& object) : where_(std::move(where)), json_(object) {
  if (!json_.is_object() && !json_.is_null()) {
    throw usage_error(where_, "the configuration must be a JSON object; found " + json_.dump() +
                                  ". Write {\"key\": value, ...}.");
  }
}

const json* ConfigReader::find(const char* key) {
  known_.emplace_back(key);
  const auto it = json_.find(key);
  return it == json_.end() ? nullptr : &*it;
}

void ConfigReader::refuse(const char* key, const char* wanted) const {
  throw usage_error(
      where_, std::string(key) + " must be " + wanted + "; found " + json_.at(key).dump() + ". Change it.");
}

void ConfigReader::operator()(const char* key, int64_t& value) {
  const json* found = find(key);
  if (!found) return;
  if (!found->is_number_integer()) refuse(key, "a whole number");
  value = found->get<int64_t>();
}

void ConfigReader::operator()(const char* key, double& value) {
  const json* found = find(key);
  if (!found) return;
  if (!found->is_number()) refuse(key, "a number");
  value = found->get<double>();
}

void ConfigReader::operator()(const char* key, bool& value) {
  const json* found = find(key);
  if (!found) return;
  if (!found->is_boolean()) refuse(key, "true or false");
  value = found->get<bool>();
}

void ConfigReader::operator()(const char* key, std::string& value) {
  const json* found = find(key);
  if (!found) return;
  if (!found->is_string()) refuse(key, "a text");
  value = found->get<std::string>();
}

void ConfigReader::operator()(const char* key, ImageSize& value) {
  const json* found = find(key);
  if (!found) return;
  const auto whole = [](const json& j) { return j.is_number_integer(); };
  if (whole(*found)) {
    value = {found->get<int64_t>(), found->get<int64_t>()};
  } else if (found->is_array() && found->size() == 2 && std::all_of(found->begin(), found->end(), whole)) {
    value = {found->at(0).get<int64_t>(), found->at(1).get<int64_t>()};
  } else {
    refuse(key, "a whole number or [height, width]");
  }
}

void ConfigReader::refuse_unknown_keys() const {
  if (!json_.is_object()) return;
  for (const auto& [key, value] : json_.items()) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    std::string all;
    for (const auto& name : known_) all += (all.empty() ? "" : ", ") + name;
    throw usage_error(where_, "unknown setting '" + key + "'. " +
                                  suggest_name(key, known_, "Its settings are " + all + "."));
  }
}

void to_json(json& out, const ImageSize& size) {
  if (size.height == size.width) {
    out = size.height;
  } else {
    out = json::array({size.height, size.width});
  }
}

void require(bool holds, const std::string& where, const std::string& rule, const std::string& found) {
  if (!holds) throw usage_error(where, rule + "; found " + found + ". Change it.");
}

}  // namespace fovea::models
