#include "fovea/tasks/classify_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <type_traits>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/core/version.h"
#include "fovea/data/statistics.h"
#include "fovea/data/transform.h"
#include "fovea/io/json_text.h"
#include "fovea/io/utf8.h"
#include "fovea/models/registry.h"
#include "fovea/nn/meta_device.h"

namespace fovea::tasks {
namespace {

using nlohmann::json;

/// The largest whole number of a setting: double holds it exactly.
constexpr double kMany = 1e15;

/// Parts of a configuration that are not training keys.
const std::set<std::string>& other_parts() {
  static const std::set<std::string> names = {"class_names", "data",          "description", "library",
                                              "model",       "preprocessing", "task"};
  return names;
}

/// Reads data.KEY into `target` when it is there.
class DataReader {
 public:
  explicit DataReader(const json& object) : object_(object) {
    if (!object.is_object())
      throw usage_error("config", "`data` must be an object, as {\"name\": \"fashion_mnist\"}.");
  }

  /// Numbers must lie in [low, high]; those that are counted must be whole.
  template <class T>
  void read(const char* name, T& target, double low = -1e300, double high = 1e300) {
    known_.emplace_back(name);
    const auto found = object_.find(name);
    if (found == object_.end() || found->is_null()) return;
    if constexpr (std::is_arithmetic_v<T>) {
      check_number(name, *found, std::is_integral_v<T>);
      check_range(name, *found, low, high);
    }
    try {
      target = found->get<T>();
    } catch (const json::exception&) {
      refuse(name, std::is_same_v<T, std::string> ? "a text" : "a list of numbers", *found);
    }
  }

  void refuse_unknown() const {
    for (const auto& [name, value] : object_.items()) {
      if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
      throw usage_error(
          "config",
          fmt::format("unknown key 'data.{}'. {}", name,
                      suggest_name(name, known_, fmt::format("Known: {}.", fmt::join(known_, ", ")))));
    }
  }

 private:
  [[noreturn]] static void refuse(const char* name, const std::string& rule, const json& found) {
    throw usage_error("config", fmt::format("data.{} must be {}", name, rule), io::show_json(found),
                      "Change it.");
  }

  static void check_number(const char* name, const json& found, bool whole) {
    if (whole ? found.is_number_integer() : found.is_number()) return;
    refuse(name, whole ? "a whole number" : "a number", found);
  }

  // Before the conversion, which would wrap.
  static void check_range(const char* name, const json& found, double low, double high) {
    const double value = found.get<double>();
    if (value < low) refuse(name, fmt::format("at least {}", low), found);
    if (value > high) refuse(name, fmt::format("at most {}", high), found);
  }

  const json& object_;
  std::vector<std::string> known_;
};

std::string base_name(const std::string& data_name) { return data_name.substr(0, data_name.find(':')); }

/// What practitioners use on these data.
json usual_transform(const std::string& name, int64_t size) {
  if (name == "mnist") return json::array();
  if (name == "fashion_mnist") return json::array({"random_horizontal_flip"});
  const json flip = "random_horizontal_flip";
  if (name == "folder") return json::array({{{"random_resized_crop", {{"size", size}}}}, flip});
  return json::array({{{"random_crop", {{"size", size}, {"padding", size / 8}}}}, flip});
}

/// The side that images are brought to: 0 when they keep their own.
int64_t image_size(const DataSettings& settings, const json& model) {
  if (settings.open.img_size > 0) return settings.open.img_size;
  if (model.contains("img_size") && model["img_size"].is_number_integer())
    return model["img_size"].get<int64_t>();
  if (base_name(settings.open.name) != "folder") return 0;
  const json defaults = models::model_config(model.at("name"), json::object());
  const json size = defaults.value("img_size", json(224));
  return size.is_array() ? size[0].get<int64_t>() : size.get<int64_t>();
}

void decide_statistics(DataSettings& settings, const data::Dataset& train) {
  if (settings.mean.size() != settings.std.size()) {
    throw usage_error("config", "data.mean and data.std must be given together, one value a channel.");
  }
  if (std::any_of(settings.std.begin(), settings.std.end(), [](double value) { return value <= 0; })) {
    throw usage_error("config", "data.std must be above 0. Leave mean and std out to have them measured.");
  }
  if (settings.mean.empty()) {
    const bool folder = base_name(settings.open.name) == "folder" && settings.open.channels != 1;
    const data::DataStatistics s = folder ? data::imagenet_statistics() : data::compute_statistics(train);
    settings.mean = s.mean;
    settings.std = s.std;
  }
}

json model_part(const json& config) {
  const json model = config.value("model", json::object());
  if (!model.is_object() || !model.contains("name") || !model["name"].is_string()) {
    throw usage_error("config", "model.name must say which network to train. `fovea list models` shows all.");
  }
  return model;
}

/// Shape of the images as the network gets them.
Preprocessing shape_of(const DataSettings& settings, const data::Dataset& train) {
  const auto [channels, height, width] = train.image_shape();
  Preprocessing p = {channels, height, width, settings.mean, settings.std};
  if (settings.open.img_size > 0) p.height = p.width = settings.open.img_size;
  return p;
}

json resolve_model(json model, const Preprocessing& p, int64_t classes) {
  const std::string name = models::resolve_model_name(model["name"]);
  model = models::settings_of(std::move(model));
  const auto set = [&](const char* key, const json& value) {
    if (!model.contains(key)) model[key] = value;
  };
  set("num_classes", classes);
  set("in_chans", p.channels);
  set("img_size", p.height == p.width ? json(p.height) : json::array({p.height, p.width}));
  json full = models::model_config(name, model);
  full["name"] = name;
  return full;
}

/// What is set of the model must be what the data are; otherwise the training dies at its first step, or
/// learns nothing of what was meant.
void require_agreement(const json& model, const Preprocessing& p, int64_t classes) {
  const json size = p.height == p.width ? json(p.height) : json::array({p.height, p.width});
  const auto agree = [&](const char* key, const json& data, const char* what) {
    if (!model.contains(key) || model[key] == data) return;
    if (model[key] == json::array({p.height, p.width})) return;
    throw usage_error("config", fmt::format("model.{} must be {} of the data, {}; found {}. Leave it out{}.",
                                            key, what, io::show_json(data), io::show_json(model[key]),
                                            data == size ? ", or set data.img_size to it" : ""));
  };
  agree("num_classes", classes, "the number of classes");
  agree("in_chans", p.channels, "the number of channels");
  agree("img_size", size, "the size");
}

/// Augmentations may make another size than the evaluation sees, unless the network knows one size only: that
/// one would refuse its first batch.
void require_fitting_size(const json& model, const data::Transform& transform, const Preprocessing& p) {
  const auto made = transform.output_size(data::PixelSize{p.height, p.width});
  if (made->height == p.height && made->width == p.width) return;
  const nn::MetaDeviceScope meta;
  if (!models::make_image_model(model["name"], models::settings_of(model))->fixed_size()) return;
  throw usage_error("config",
                    fmt::format("data.transform must make images of the network's img_size, {} x {}; "
                                "found {} x {}. Give its crop or resize that size, or set img_size.",
                                p.height, p.width, made->height, made->width));
}

/// The name with its path made absolute: the checkpoint is used from other working directories too.
std::string lasting_name(const std::string& name) {
  std::string lasting = data::with_absolute_path(name);
  if (io::is_utf8(lasting)) return lasting;
  throw usage_error("config",
                    fmt::format("data.name must be UTF-8, as config.json is; found {}. Rename the folder.",
                                io::quote_text(lasting)));
}

json to_json(const Preprocessing& p) {
  return {
      {"channels", p.channels}, {"height", p.height}, {"width", p.width}, {"mean", p.mean}, {"std", p.std}};
}

}  // namespace

DataSettings data_settings(const json& object) {
  DataSettings s;
  s.open.name = "fashion_mnist";
  DataReader reader(object);
  reader.read("name", s.open.name);
  reader.read("val_fraction", s.open.val_fraction, 0.0, 0.99);
  reader.read("split_seed", s.open.split_seed, 0.0);
  reader.read("limit", s.open.limit, 0.0, kMany);
  reader.read("img_size", s.open.img_size, 0.0, 65536.0);
  reader.read("channels", s.open.channels, 0.0, 3.0);
  reader.read("transform", s.transform);
  reader.read("workers", s.workers, 0.0, 256.0);
  reader.read("prefetch", s.prefetch, 1.0, 1024.0);
  reader.read("mixup_alpha", s.mixup_alpha, 0.0);
  reader.read("cutmix_alpha", s.cutmix_alpha, 0.0);
  reader.read("mean", s.mean);
  reader.read("std", s.std);
  reader.refuse_unknown();
  return s;
}

json to_json(const DataSettings& s) {
  return {{"name", s.open.name},
          {"val_fraction", s.open.val_fraction},
          {"split_seed", s.open.split_seed},
          {"limit", s.open.limit},
          {"img_size", s.open.img_size},
          {"channels", s.open.channels},
          {"transform", s.transform},
          {"workers", s.workers},
          {"prefetch", s.prefetch},
          {"mixup_alpha", s.mixup_alpha},
          {"cutmix_alpha", s.cutmix_alpha},
          {"mean", s.mean},
          {"std", s.std}};
}

Preprocessing preprocessing_from_json(const json& object) {
  return {object.at("channels"), object.at("height"), object.at("width"), object.at("mean"),
          object.at("std")};
}

train::TrainConfig training_keys(const json& config) {
  json flat = json::object();
  for (const auto& [name, value] : config.items()) {
    if (!other_parts().contains(name)) flat[name] = value;
  }
  return train::config_from_json(flat);
}

ResolvedClassify resolve_with_data(const json& config) {
  if (!config.is_object()) throw usage_error("config", "a configuration must be a JSON object.");
  if (config.value("task", json("classify")) != "classify") {
    throw usage_error("config",
                      fmt::format("task must be classify; found {}.", io::show_json(config["task"])));
  }
  ResolvedClassify result;
  result.config = train::config_to_json(training_keys(config));
  const json model = model_part(config);
  // Before the data are read: a wrong name should cost nothing.
  models::model_config(model["name"], models::settings_of(model));
  DataSettings settings = data_settings(config.value("data", json::object()));
  settings.open.name = lasting_name(settings.open.name);
  settings.open.img_size = image_size(settings, model);
  if (settings.transform.is_null() && settings.open.img_size > 0) {
    settings.transform = usual_transform(base_name(settings.open.name), settings.open.img_size);
  }
  settings.open.resize_train = settings.transform.is_null() || !data::has_output_size(settings.transform);
  result.splits = data::open_data(settings.open);
  const data::Dataset& train = *result.splits.train;
  const auto classes = static_cast<int64_t>(train.class_names().size());
  if (classes < 2) {
    throw data_error(settings.open.name,
                     fmt::format("a classifier needs at least two classes; found {}. Give a "
                                 "folder with one folder for each class.",
                                 classes));
  }
  decide_statistics(settings, train);
  const Preprocessing p = shape_of(settings, train);
  require_agreement(model, p, classes);
  // As the model's img_size will be: so that the result, given again, resolves to itself.
  if (p.height == p.width) settings.open.img_size = p.height;
  if (settings.transform.is_null())
    settings.transform = usual_transform(base_name(settings.open.name), p.height);
  const data::TransformPtr transform = data::make_transform(settings.transform);
  settings.transform = transform->describe();
  result.config["task"] = "classify";
  result.config["library"] = kVersion;
  result.config["model"] = resolve_model(model, p, classes);
  require_fitting_size(result.config["model"], *transform, p);
  result.config["data"] = to_json(settings);
  result.config["class_names"] = train.class_names();
  result.config["preprocessing"] = to_json(p);
  return result;
}

json resolve_classify(const json& config) { return resolve_with_data(config).config; }

}  // namespace fovea::tasks
