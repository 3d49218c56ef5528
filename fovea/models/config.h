#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fovea/core/error.h"

namespace fovea::models {

/// Height and width; in JSON a number when they agree, otherwise [height, width].
struct ImageSize {
  int64_t height = 224, width = 224;
};

/// A model's settings are a plain struct with `static void fields(Self&, Visitor&&)` that calls
/// visitor("name", member) for each; reading, writing and checking follow from that one list.
///
/// Reads the fields that `json` has. Throws fovea::Error (usage) on a value of another type.
class ConfigReader {
 public:
  /// Throws unless `json` is an object or null (taken as empty).
  ConfigReader(std::string where, const nlohmann::json& json);

  void operator()(const char* key, int64_t& value);
  void operator()(const char* key, double& value);
  void operator()(const char* key, bool& value);
  void operator()(const char* key, std::string& value);
  void operator()(const char* key, ImageSize& value);

  /// Throws fovea::Error (usage), naming the nearest, if the object has a key that no field asked for.
  void refuse_unknown_keys() const;

 private:
  const nlohmann::json* find(const char* key);
  [[noreturn]] void refuse(const char* key, const char* wanted) const;

  std::string where_;
  const nlohmann::json& json_;
  std::vector<std::string> known_;
};

/// `defaults` with what `json` sets.
template <class Config>
Config read_config(const std::string& where, const nlohmann::json& json, Config defaults) {
  ConfigReader reader(where, json);
  Config::fields(defaults, reader);
  reader.refuse_unknown_keys();
  return defaults;
}

void to_json(nlohmann::json& json, const ImageSize& size);

/// Every field.
template <class Config>
nlohmann::json write_config(Config config) {
  nlohmann::json json = nlohmann::json::object();
  Config::fields(config, [&](const char* key, const auto& value) { json[key] = value; });
  return json;
}

/// Throws fovea::Error (usage): `[where] KEY must RULE; found FOUND. Change it.` unless `holds`.
void require(bool holds, const std::string& where, const std::string& rule, const std::string& found);

/// The longest side of an image, and the most channels, that a network is built for; more is a slip, and
/// would exceed what libtorch counts.
inline constexpr int64_t kLargestSide = 65536;

/// require() that low <= value <= high.
void require_range(const std::string& where, const std::string& key, int64_t value, int64_t low,
                   int64_t high);

/// require_range() for what every image network has: num_classes, in_chans and both sides of img_size.
void require_image_settings(const std::string& where, int64_t num_classes, int64_t in_chans,
                            ImageSize img_size);

}  // namespace fovea::models
