#include "fovea/cli/model_view.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "fovea/explain/attention_maps.h"
#include "fovea/explain/grad_cam.h"
#include "fovea/explain/heatmap.h"
#include "fovea/train/evaluate.h"

namespace fovea::cli {
namespace {

std::string note_of(const explain::Explanation& found) {
  std::string note = found.layer;
  if (found.check && !found.check->holds) {
    note += fmt::format("{}self-check failed: {}", note.empty() ? "" : "; ", found.check->rule);
  }
  return note;
}

explain::MapGrid attention_grid(models::ImageNetwork& network, const at::Tensor& input) {
  const auto record = explain::record_attention(network, input, "attention");
  explain::MapGrid grid{
      .title = "Attention of each layer and head", .rows = record.layers, .columns = {}, .maps = {}};
  const int64_t heads = record.weights.front().size(0);
  for (int64_t head = 0; head < heads; ++head) grid.columns.push_back(fmt::format("head {}", head + 1));
  for (const auto& weights : record.weights) {
    for (int64_t head = 0; head < heads; ++head) {
      grid.maps.push_back(explain::normalise_map(explain::token_map(weights[head], record.grid)).map);
    }
  }
  return grid;
}

explain::MapGrid cam_grid(models::ImageNetwork& network, const at::Tensor& input, int64_t target) {
  explain::MapGrid grid{.title = "Grad-CAM of each layer",
                        .rows = explain::cam_layers(network, input),
                        .columns = {"Grad-CAM"},
                        .maps = {}};
  for (const auto& layer : grid.rows) {
    explain::ExplainerOptions options;
    options.layer = layer;
    grid.maps.push_back(explain::make_explainer("gradcam", options)->explain(network, input, target).map);
  }
  return grid;
}

}  // namespace

std::vector<explain::ClassScore> class_scores(const tasks::Classifier& classifier, const at::Tensor& input,
                                              int64_t top) {
  const at::Tensor chances = train::predict(*classifier.model, input).squeeze(0);
  const auto [values, labels] = chances.topk(std::min(top, chances.size(0)));
  std::vector<explain::ClassScore> scores;
  for (int64_t i = 0; i < values.size(0); ++i) {
    const auto label = static_cast<size_t>(labels[i].item<int64_t>());
    scores.push_back({.name = classifier.class_names.at(label), .probability = values[i].item<double>()});
  }
  return scores;
}

std::vector<std::string> suitable_methods(const tasks::Classifier& classifier, const at::Tensor& input) {
  const std::string first = explain::default_explainer(*classifier.model, input);
  if (first == "gradcam") return {first};
  return {first, "gradcam"};
}

ImageView view_image(const tasks::Classifier& classifier, const at::Tensor& input, const std::string& name,
                     const ViewOptions& options) {
  auto& network = *classifier.model;
  ImageView out;
  out.view.model = name;
  out.view.scores = class_scores(classifier, input);
  for (const auto& method : options.methods) {
    auto found = explain::make_explainer(method)->explain(network, input, options.target);
    out.view.maps.push_back(
        {.method = method, .map = found.map, .low = found.low, .high = found.high, .note = note_of(found)});
    out.explanations.push_back(std::move(found));
  }
  if (options.grids) {
    const bool attention = explain::has_global_attention(network, input);
    out.view.grids.push_back(attention ? attention_grid(network, input)
                                       : cam_grid(network, input, options.target));
  }
  return out;
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
