#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>

#include "fovea/core/error.h"
#include "fovea/data/image_tensor.h"
#include "fovea/data/loader.h"
#include "fovea/data/transform.h"
#include "fovea/io/utf8.h"
#include "fovea/models/registry.h"
#include "fovea/models/weights.h"
#include "fovea/tasks/classifier_config.h"
#include "fovea/tasks/classify.h"
#include "fovea/tasks/classify_config.h"
#include "fovea/train/checkpoint.h"
#include "fovea/train/evaluate.h"

namespace fovea::tasks {
namespace {

using nlohmann::json;

/// The first line of a message: what follows in libtorch's are stack frames.
std::string first_line(const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  const std::string text = torch != nullptr ? torch->what_without_backtrace() : error.what();
  return text.substr(0, text.find('\n'));
}

/// Labels are numbers: with other names, or another order, every figure would be about other classes.
void require_same_classes(const std::vector<std::string>& known, const std::vector<std::string>& found,
                          const std::string& data) {
  constexpr const char* kRemedy = "Give --data a set with the classes of the training, in their order.";
  if (known.size() != found.size()) {
    throw data_error("eval", fmt::format("the network knows {} classes; {} has {}. {}", known.size(), data,
                                         found.size(), kRemedy));
  }
  for (size_t i = 0; i < known.size(); ++i) {
    if (known[i] == found[i]) continue;
    throw data_error("eval", fmt::format("class {} of the network is {}; that of {} is {}. {}", i,
                                         io::quote_text(known[i]), data, io::quote_text(found[i]), kRemedy));
  }
}

/// A thin image would be hundreds of times larger once its shorter edge has the network's size.
void require_proportions(const at::Tensor& image, int64_t side) {
  constexpr double kMostPixels = 1e8, kLongestEdge = 1e6;
  const auto height = static_cast<double>(image.size(1)), width = static_cast<double>(image.size(2));
  const auto shorter = static_cast<double>(side);
  const double longer = shorter * std::max(height, width) / std::min(height, width);
  if (longer <= kLongestEdge && longer * shorter <= kMostPixels) return;
  throw data_error(
      "predict",
      fmt::format("an image is resized so that its shorter edge has {} pixels; found {} x {}, which "
                  "would become too large. Cut a part out of it.",
                  side, image.size(1), image.size(2)));
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
  ClassifierConfig read = read_classifier_config(files.config);
  classifier.config = std::move(read.config);
  classifier.class_names = std::move(read.class_names);
  classifier.preprocessing = std::move(read.preprocessing);
  try {
    const json& model = classifier.config["model"];
    classifier.model = models::make_image_model(model.at("name"), models::settings_of(model));
  } catch (const std::exception& error) {
    throw model_file_error(
        files.config.string(),
        fmt::format("the network that it describes cannot be built: {} Use the config.json "
                    "that was written with the weights.",
                    first_line(error)));
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
    require_proportions(pixels, p.height);
    Random unused(0);
    pixels = data::evaluation_transform(p.height)->apply(pixels, unused);
  }
  return normalise(pixels, p);
}

std::string evaluated_data(const Classifier& classifier, const std::string& data) {
  return data.empty() ? data_settings(classifier.config.at("data")).open.name : data;
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
    const char* part = split == Split::val ? "val" : "test";
    throw data_error(
        "eval", fmt::format("{} must have a {} part; found none. Give --data a set with one; `fovea eval "
                            "--split` measures the others.",
                            options.name, part));
  }
  require_same_classes(classifier.class_names, images->class_names(), options.name);
  const std::shared_ptr<data::Loader> loader = evaluation_loader(images, p, 256);
  return train::evaluate(*classifier.model, *loader, true);
}

}  // namespace fovea::tasks
