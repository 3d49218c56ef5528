#include "fovea/tasks/classifier_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "fovea/core/error.h"
#include "fovea/io/file.h"
#include "fovea/io/json_text.h"
#include "fovea/models/registry.h"
#include "fovea/tasks/classify_config.h"

namespace fovea::tasks {
namespace {

using nlohmann::json;

constexpr int64_t kLargestSide = 65536;

/// Throws the error of the file unless `holds`.
class Check {
 public:
  explicit Check(const std::filesystem::path& file) : where_(file.string()) {}

  void operator()(bool holds, const std::string& rule) const {
    if (holds) return;
    throw model_file_error(where_, rule + ". Use the config.json that was written with the weights.");
  }

 private:
  std::string where_;
};

json parse(const std::string& text, const Check& check) {
  const std::string fault = io::json_text_fault(text);
  check(fault.empty(), fault);
  json config = json::parse(text, nullptr, false);
  check(!config.is_discarded(), "the configuration must be JSON and is not");
  check(config.is_object() && config.contains("class_names") && config.contains("preprocessing"),
        "the configuration of a trained classifier has model, data, class_names and preprocessing");
  for (const char* part : {"model", "data"}) {
    check(config.contains(part) && config[part].is_object(), fmt::format("'{}' must be an object", part));
  }
  check(config["model"].contains("name") && config["model"]["name"].is_string(),
        "model.name must say which network it is");
  return config;
}

std::vector<std::string> read_class_names(const json& names, const Check& check) {
  const auto is_text = [](const json& name) { return name.is_string(); };
  check(names.is_array() && std::all_of(names.begin(), names.end(), is_text),
        fmt::format("class_names must be a list of texts; found {}", io::show_json(names)));
  return names.get<std::vector<std::string>>();
}

int64_t read_whole(const json& object, const char* key, int64_t most, const Check& check) {
  const json found = object.value(key, json());
  check(found.is_number_integer() && found >= 1 && found <= most,
        fmt::format("preprocessing.{} must be a whole number from 1 to {}; found {}", key, most,
                    io::show_json(found)));
  return found.get<int64_t>();
}

std::vector<double> read_row(const json& object, const char* key, int64_t channels, const Check& check) {
  const json found = object.value(key, json());
  const auto is_finite = [](const json& v) { return v.is_number() && std::isfinite(v.get<double>()); };
  check(found.is_array() && static_cast<int64_t>(found.size()) == channels &&
            std::all_of(found.begin(), found.end(), is_finite),
        fmt::format("preprocessing.{} must hold {} finite numbers, one a channel; found {}", key, channels,
                    io::show_json(found)));
  return found.get<std::vector<double>>();
}

Preprocessing read_preprocessing(const json& object, const Check& check) {
  check(object.is_object(), "'preprocessing' must be an object");
  Preprocessing p;
  p.channels = read_whole(object, "channels", 3, check);
  check(p.channels != 2, "preprocessing.channels must be 1 or 3; found 2");
  p.height = read_whole(object, "height", kLargestSide, check);
  p.width = read_whole(object, "width", kLargestSide, check);
  p.mean = read_row(object, "mean", p.channels, check);
  p.std = read_row(object, "std", p.channels, check);
  check(*std::min_element(p.std.begin(), p.std.end()) > 0,
        fmt::format("preprocessing.std must be above 0; found {}", io::show_json(object["std"])));
  return p;
}

/// Settings with the model's defaults for what the file does not say.
json full_model(const json& config, const Check& check) {
  json model = config["model"];
  const std::string name = model["name"];
  model.erase("name");
  try {
    data_settings(config["data"]);
    return models::model_config(name, model);
  } catch (const Error& error) {
    check(false, error.what());
    throw;
  }
}

}  // namespace

ClassifierConfig read_classifier_config(const std::filesystem::path& file) {
  const Check check(file);
  ClassifierConfig read;
  read.config = parse(io::read_file(file, io::kLargestJson, ErrorKind::model_file), check);
  read.class_names = read_class_names(read.config["class_names"], check);
  read.preprocessing = read_preprocessing(read.config["preprocessing"], check);
  const json model = full_model(read.config, check);
  const json classes = model.value("num_classes", json()), channels = model.value("in_chans", json());
  check(classes == read.class_names.size(),
        fmt::format("class_names must name the {} classes of the model; found {}", io::show_json(classes),
                    read.class_names.size()));
  check(channels == read.preprocessing.channels,
        fmt::format("preprocessing.channels must be the model's in_chans, {}; found {}",
                    io::show_json(channels), read.preprocessing.channels));
  return read;
}

}  // namespace fovea::tasks
