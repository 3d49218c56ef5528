#include "fovea/cli/model_view.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "fovea/explain/heatmap.h"

namespace fovea::cli {

explain::ImageView view_image(const tasks::Classifier& classifier, const at::Tensor& input,
                              const std::string& title, const std::vector<std::string>& methods,
                              int64_t target) {
  return explain::view_image(*classifier.model, input,
                             {.title = title,
                              .class_names = classifier.class_names,
                              .methods = methods,
                              .target = target,
                              .top = 5});
}

io::Image seen_image(const tasks::Classifier& classifier, const at::Tensor& input) {
  const auto& sizes = classifier.preprocessing;
  const auto row = [](const std::vector<double>& values) {
    return at::tensor(values, at::kFloat).view({1, -1, 1, 1});
  };
  const at::Tensor pixels = (input * row(sizes.std) + row(sizes.mean)) * 255;
  return explain::image_from_tensor(pixels.round().clamp(0, 255).to(at::kByte).squeeze(0));
}

std::string model_name(const tasks::Classifier& classifier) {
  return classifier.config.at("model").at("name").get<std::string>();
}

}  // namespace fovea::cli
