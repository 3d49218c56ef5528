#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fovea/tasks/classify.h"

namespace fovea::tasks {

/// config.json of a trained classifier, checked.
struct ClassifierConfig {
  nlohmann::json config;
  std::vector<std::string> class_names;
  Preprocessing preprocessing;
};

/// Reads config.json: model, data, class_names (as many as the model's num_classes) and preprocessing (1 or 3
/// channels, as many as the model's in_chans; sides from 1 to 65536; mean and std for each channel). Throws
/// fovea::Error (model_file) naming the file and what does not fit.
ClassifierConfig read_classifier_config(const std::filesystem::path& file);

}  // namespace fovea::tasks
