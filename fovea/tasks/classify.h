#pragma once
#include <ATen/core/Tensor.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fovea/data/dataset.h"
#include "fovea/io/image.h"
#include "fovea/models/network.h"
#include "fovea/train/metrics.h"
#include "fovea/train/trainer.h"

namespace fovea::data {
class Loader;
}

namespace fovea::tasks {

/// How pixels become the network's input: resize to (height, width), grey or colour, (x / 255 - mean) / std.
struct Preprocessing {
  int64_t channels = 1, height = 0, width = 0;
  std::vector<double> mean, std;
};

/// The full configuration of `fovea train classify`: defaults, then `config`, then what the data say.
/// `config` is {"model": {"name": ..., ...}, "data": {"name": ..., ...}, and flat training keys}. Keys of
/// `data`: name (NAME[:PATH], default fashion_mnist), val_fraction (1/12), split_seed (0), limit (0 = all),
/// img_size and channels (0 = as the data are), workers (1), prefetch (4), transform (a list, see
/// data/transform.h; default: the usual one of the data set), mixup_alpha, cutmix_alpha (0), mean and std
/// (default: those of the training images, of ImageNet for folders). img_size, in_chans and num_classes of
/// the model come from the data unless set. The result also has `task`, `class_names` and `preprocessing`,
/// and is itself a configuration. Opens the data. Throws fovea::Error (usage) on unknown keys, (data) when
/// the data are missing.
nlohmann::json resolve_classify(const nlohmann::json& config);

struct ClassifyRun {
  /// As resolve_classify takes it.
  nlohmann::json config;
  std::filesystem::path output;
  bool resume = false;
  train::TrainCallbacks callbacks;
  const std::atomic<bool>* stop = nullptr;
};

/// Trains a classifier into a run folder.
train::TrainResult train_classify(const ClassifyRun& run);

/// A trained network with what is needed to use it.
struct Classifier {
  std::shared_ptr<models::ImageNetwork> model;
  /// config.json of the checkpoint.
  nlohmann::json config;
  std::vector<std::string> class_names;
  Preprocessing preprocessing;
  /// The weights' file, and damaged checkpoints that were passed over.
  std::filesystem::path weights;
  std::vector<std::string> notes;
};

/// Loads a CHECKPOINT: a run folder (its best, else last), a checkpoint folder, or a .safetensors file with
/// config.json beside it. The network is in evaluation mode. Throws fovea::Error (model_file).
Classifier load_classifier(const std::filesystem::path& checkpoint);

/// (1, C, H, W) float32, resized and normalised for the network.
at::Tensor to_input(const Classifier& classifier, const io::Image& image);

/// (1, C, H, W) float32 of a data set's image (uint8 (C, H, W)).
at::Tensor to_input(const Classifier& classifier, const at::Tensor& image);

/// Batches of `images` in their order, normalised, without augmentation.
std::shared_ptr<data::Loader> evaluation_loader(std::shared_ptr<const data::Dataset> images,
                                                const Preprocessing& preprocessing, int64_t batch_size);

/// Which part of a data set is evaluated.
enum class Split { train, val, test };

/// What is measured: `data`, or the data of the training when it is empty; NAME[:PATH].
std::string evaluated_data(const Classifier& classifier, const std::string& data);

/// Metrics on a split of evaluated_data(). The validation split is that of the training. Throws fovea::Error
/// (data) when there is no such part, or its classes are others.
train::ClassificationMetrics evaluate_classifier(const Classifier& classifier, const std::string& data,
                                                 Split split);

}  // namespace fovea::tasks
