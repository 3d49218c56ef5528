#pragma once
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "fovea/models/network.h"

namespace fovea::models {

/// One row of `fovea list models`.
struct ModelEntry {
  std::string name;
  std::string family;
  /// The paper.
  std::string source;
  std::string summary;
};

/// Every named model, in the order in which they are listed. Beyond these, `resnetN` and `plainN` resolve for
/// every N = 6n + 2 that is not listed, and short forms such as `vit_tiny`.
const std::vector<ModelEntry>& model_entries();

/// The full name: `vit_tiny` -> `vit_tiny_patch16_224`. Throws fovea::Error (usage) naming the nearest when
/// there is no such model.
std::string resolve_model_name(const std::string& name);

/// All settings of a model: `config` over the defaults of `name`. Flat, with the reference implementation's
/// argument names (num_classes, in_chans, img_size, ...). Throws fovea::Error (usage) on an unknown name, an
/// unknown key (naming the nearest), a value of another type or out of range.
nlohmann::json model_config(const std::string& name, const nlohmann::json& config);

/// The settings in a configuration's `model` part, {"name": NAME, KEY: VALUE, ...}: all but the name.
nlohmann::json settings_of(nlohmann::json model);

/// Builds a model with its paper's random weights, in training mode, on the CPU; under nn::MetaDeviceScope
/// without memory. Errors as model_config().
std::shared_ptr<Network> make_model(const std::string& name, const nlohmann::json& config);

/// make_model() for a network of images; throws fovea::Error (usage) for others.
std::shared_ptr<ImageNetwork> make_image_model(const std::string& name, const nlohmann::json& config);

}  // namespace fovea::models
