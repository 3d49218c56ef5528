#pragma once
#include <nlohmann/json.hpp>
#include <vector>

#include "fovea/data/dataset.h"
#include "fovea/data/loader.h"
#include "fovea/data/open.h"
#include "fovea/tasks/classify.h"

namespace fovea::tasks {

/// The `data` part of a configuration.
struct DataSettings {
  data::DataOptions open;
  /// As data::make_transform takes it; null = the usual one of the data set.
  nlohmann::json transform;
  int workers = 1, prefetch = 4;
  double mixup_alpha = 0.0, cutmix_alpha = 0.0;
  /// Per channel, of values in [0, 1]; empty = measured on the training images (folders: ImageNet's).
  std::vector<double> mean, std;
};

/// Throws fovea::Error (usage) on an unknown key (naming the nearest) or a value of the wrong type or range.
DataSettings data_settings(const nlohmann::json& object);

nlohmann::json to_json(const DataSettings& settings);

Preprocessing preprocessing_from_json(const nlohmann::json& object);

/// A configuration with everything decided, and the data it speaks of.
struct ResolvedClassify {
  nlohmann::json config;
  data::Splits splits;
};

/// resolve_classify(), keeping the opened data.
ResolvedClassify resolve_with_data(const nlohmann::json& config);

/// The flat training keys of a configuration.
train::TrainConfig training_keys(const nlohmann::json& config);

}  // namespace fovea::tasks
