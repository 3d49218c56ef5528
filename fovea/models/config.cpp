#include "fovea/models/config.h"

#include <algorithm>
#include <limits>

#include "fovea/core/nearest.h"
#include "fovea/io/json_text.h"

namespace fovea::models {

using nlohmann::json;

namespace {

// What int64_t holds: JSON's unsigned numbers go beyond.
bool is_whole(const json& value) {
  if (value.is_number_unsigned()) return value.get<uint64_t>() <= std::numeric_limits<int64_t>::max();
  return value.is_number_integer();
}

}  // namespace

ConfigReader::ConfigReader(std::string where, const json& object) : where_(std::move(where)), json_(object) {
  if (!json_.is_object() && !json_.is_null()) {
    throw usage_error(where_, "the configuration must be a JSON object; found " + io::show_json(json_) +
                                  ". Write {\"key\": value, ...}.");
  }
}

const json* ConfigReader::find(const char* key) {
  known_.emplace_back(key);
  const auto it = json_.find(key);
  return it == json_.end() ? nullptr : &*it;
}

void ConfigReader::refuse(const char* key, const char* wanted) const {
  throw usage_error(where_, std::string(key) + " must be " + wanted, io::show_json(json_.at(key)),
                    "Change it.");
}

void ConfigReader::operator()(const char* key, int64_t& value) {
  const json* found = find(key);
  if (!found) return;
  if (!is_whole(*found)) refuse(key, "a whole number below 2^63");
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
  if (is_whole(*found)) {
    value = {found->get<int64_t>(), found->get<int64_t>()};
  } else if (found->is_array() && found->size() == 2 && std::all_of(found->begin(), found->end(), is_whole)) {
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
  if (!holds) throw usage_error(where, rule, found, "Change it.");
}

void require_range(const std::string& where, const std::string& key, int64_t value, int64_t low,
                   int64_t high) {
  const bool small = value < low;
  require(
      !small && value <= high, where,
      key + (small ? " must be at least " + std::to_string(low) : " must be at most " + std::to_string(high)),
      std::to_string(value));
}

void require_image_settings(const std::string& where, int64_t num_classes, int64_t in_chans,
                            ImageSize img_size) {
  constexpr int64_t kMostClasses = 10'000'000;
  require_range(where, "num_classes", num_classes, 0, kMostClasses);
  require_range(where, "in_chans", in_chans, 1, kLargestSide);
  require_range(where, "img_size", img_size.height, 1, kLargestSide);
  require_range(where, "img_size", img_size.width, 1, kLargestSide);
}

}  // namespace fovea::models
