#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include "fovea/core/error.h"
#include "fovea/data/image_tensor.h"
#include "fovea/data/loader.h"
#include "fovea/data/transform.h"
#include "fovea/io/file.h"
#include "fovea/models/registry.h"
#include "fovea/models/weights.h"
#include "fovea/tasks/classify.h"
#include "fovea/tasks/classify_config.h"
#include "fovea/train/checkpoint.h"
#include "fovea/train/evaluate.h"

namespace fovea::tasks {
namespace {

using nlohmann::json;

json read_config(const std::filesystem::path& path) {
  const json config = json::parse(io::read_file(path, 64 << 20, ErrorKind::model_file), nullptr, false);
  if (config.is_object() && config.contains("model") && config.contains("class_names") &&
      config.contains("preprocessing")) {
    return config;
  }
  throw model_file_error("checkpoint",
                         fmt::format("{} must be the configuration of a trained classifier, with model, "
                                     "class_names and preprocessing.",
                                     path.string()));
}

/// Grey as ITU-R 601 weighs colours, with Pillow's rounding; colour from grey by repetition.
at::Tensor with_channels(const at::Tensor& image, int64_t channels) {
  if (image.size(0) == channels) return image;
  if (channels == 3) return image.expand({3, -1, -1});
  const at::Tensor weights = at::tensor({19595, 38470, 7471}, at::kInt).view({3, 1, 1});
  return image.to(at::kInt)
      .mul(weights)
      .sum(0, true, at::kInt)
      .add_(32768)
      .bitwise_right_shift(16)
      .to(at::kByte);
}

at::Tensor normalise(const at::Tensor& image, const Preprocessing& p) {
  const at::Tensor mean = at::tensor(p.mean, at::kFloat).view({-1, 1, 1});
  const at::Tensor std = at::tensor(p.std, at::kFloat).view({-1, 1, 1});
  return image.to(at::kFloat).div_(255.0).sub_(mean).div_(std).unsqueeze(0);
}

}  // namespace

std::shared_ptr<data::Loader> evaluation_loader(std::shared_ptr<const data::Dataset> images,
                                                const Preprocessing& p, int64_t batch_size) {
  data::LoaderOptions options;
  options.batch_size = batch_size;
  options.shuffle = false;
  options.mean = p.mean;
  options.std = p.std;
  return std::make_shared<data::Loader>(std::move(images), options);
}

Classifier load_classifier(const std::filesystem::path& checkpoint) {
  const train::CheckpointFiles files = train::find_checkpoint(checkpoint);
  Classifier classifier;
  classifier.weights = files.weights;
  classifier.notes = files.notes;
  classifier.config = read_config(files.config);
  try {
    classifier.class_names = classifier.config["class_names"].get<std::vector<std::string>>();
    classifier.preprocessing = preprocessing_from_json(classifier.config["preprocessing"]);
    const json& model = classifier.config["model"];
    classifier.model = models::make_image_model(model.at("name"), models::settings_of(model));
  } catch (const std::exception& error) {
    throw model_file_error(
        "checkpoint", fmt::format("{} does not describe a network: {}", files.config.string(), error.what()));
  }
  models::load_weights(*classifier.model, files.weights);
  classifier.model->eval();
  return classifier;
}

at::Tensor to_input(const Classifier& classifier, const io::Image& image) {
  return to_input(classifier, data::image_to_tensor(image));
}

at::Tensor to_input(const Classifier& classifier, const at::Tensor& image) {
  const Preprocessing& p = classifier.preprocessing;
  at::Tensor pixels = with_channels(image, p.channels).contiguous();
  if (pixels.size(1) != p.height || pixels.size(2) != p.width) {
    if (p.height != p.width) {
      throw data_error("predict", fmt::format("images must be {} x {}; found {} x {}. Resize them first.",
                                              p.height, p.width, pixels.size(1), pixels.size(2)));
    }
    Random unused(0);
    pixels = data::evaluation_transform(p.height)->apply(pixels, unused);
  }
  return normalise(pixels, p);
}

train::ClassificationMetrics evaluate_classifier(const Classifier& classifier, const std::string& data,
                                                 Split split) {
  const Preprocessing& p = classifier.preprocessing;
  data::DataOptions options = data_settings(classifier.config.at("data")).open;
  if (!data.empty()) {
    options.name = data;
    options.channels = p.channels;
    options.img_size = p.height == p.width ? p.height : 0;
  }
  const data::Splits splits = data::open_data(options);
  const std::shared_ptr<const data::Dataset> images = split == Split::train ? splits.train
                                                      : split == Split::val ? splits.val
                                                                            : splits.test;
  if (!images) {
    throw data_error("eval", fmt::format("{} has no {} part. Choose another with --split.", options.name,
                                         split == Split::val ? "val" : "test"));
  }
  if (images->class_names().size() != classifier.class_names.size()) {
    throw data_error("eval",
                     fmt::format("the network knows {} classes; {} has {}.", classifier.class_names.size(),
                                 options.name, images->class_names().size()));
  }
  const std::shared_ptr<data::Loader> loader = evaluation_loader(images, p, 256);
  return train::evaluate(*classifier.model, *loader, true);
}

}  // namespace fovea::tasks
