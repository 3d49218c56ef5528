#include "fovea/explain/view.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "fovea/explain/attention_maps.h"
#include "fovea/explain/grad_cam.h"
#include "fovea/explain/heatmap.h"
#include "fovea/explain/html.h"
#include "fovea/explain/probe.h"

namespace fovea::explain {
namespace {

// Maps on a page need no more cells than this a side.
constexpr int64_t kMaxGridSide = 32;

at::Tensor coarse(const at::Tensor& map) {
  const int64_t longer = std::max(map.size(0), map.size(1));
  if (longer <= kMaxGridSide) return map;
  const auto side = [longer](int64_t n) { return std::max<int64_t>(1, n * kMaxGridSide / longer); };
  return at::adaptive_avg_pool2d(map.unsqueeze(0), {side(map.size(0)), side(map.size(1))}).squeeze(0);
}

}  // namespace

std::string method_title(const std::string& method) {
  static const std::vector<std::pair<std::string, std::string>> titles = {
      {"rollout", "Attention rollout"},
      {"attention", "Raw attention"},
      {"gradcam", "Grad-CAM"},
      {"gradcam++", "Grad-CAM++"},
      {"saliency", "Saliency"},
      {"input_x_gradient", "Input × gradient"},
      {"integrated_gradients", "Integrated gradients"},
      {"occlusion", "Occlusion"},
  };
  for (const auto& [name, title] : titles) {
    if (name == method) return title;
  }
  return method;
}

std::vector<ClassScore> top_scores(const at::Tensor& logits, const std::vector<std::string>& class_names,
                                   int64_t top) {
  const at::Tensor probabilities = logits.detach().to(at::kCPU, at::kDouble).softmax(-1);
  const auto [values, indices] = probabilities.topk(std::min(top, probabilities.size(0)));
  std::vector<ClassScore> out;
  for (int64_t i = 0; i < values.size(0); ++i) {
    const auto index = static_cast<size_t>(indices[i].item<int64_t>());
    out.push_back(
        {index < class_names.size() ? class_names[index] : std::to_string(index), values[i].item<double>()});
  }
  return out;
}

MapView map_view(const Explanation& explanation) {
  std::string note = explanation.layer;
  if (explanation.check && !explanation.check->holds) {
    note += fmt::format("{}check failed: {} (off by {})", note.empty() ? "" : "; ", explanation.check->rule,
                        short_number(explanation.check->error, 2));
  }
  return {method_title(explanation.method), explanation.map, explanation.low, explanation.high, note};
}

MapGrid attention_grid(models::ImageNetwork& network, const at::Tensor& image) {
  const EvaluationScope evaluation(network);
  const AttentionRecord record = record_attention(network, image, "attention");
  MapGrid grid;
  grid.title = "attention by layer and head";
  const int64_t heads = record.weights.front().size(0);
  for (int64_t h = 0; h < heads; ++h) grid.columns.push_back(fmt::format("head {}", h + 1));
  for (size_t l = 0; l < record.layers.size(); ++l) {
    grid.rows.push_back(fmt::format("layer {}", l + 1));
    for (int64_t h = 0; h < heads; ++h) {
      const at::Tensor map = token_map(fuse_heads(record.weights[l], h, "mean"), record.grid);
      grid.maps.push_back(coarse(normalise_map(map).map));
    }
  }
  return grid;
}

MapGrid grad_cam_grid(models::ImageNetwork& network, const at::Tensor& image, int64_t target) {
  std::vector<std::string> layers;
  {
    const EvaluationScope evaluation(network);
    layers = cam_layers(network, image);
  }
  MapGrid grid;
  grid.title = "Grad-CAM by layer";
  grid.rows = {""};
  for (const auto& layer : layers) {
    ExplainerOptions options;
    options.layer = layer;
    const Explanation found = GradCam(options).explain(network, image, target);
    grid.columns.push_back(layer);
    grid.maps.push_back(coarse(normalise_map(found.values, /*from_zero=*/true).map));
  }
  return grid;
}

ImageView view_image(models::ImageNetwork& network, const at::Tensor& image, const ViewOptions& options) {
  check_single_image("explain", image);
  ImageView out;
  out.view.model = options.title;
  at::Tensor logits;
  bool attention = false;
  {
    const EvaluationScope evaluation(network);
    const at::NoGradGuard no_grad;
    logits = network.forward(image)[0];
    attention = has_global_attention(network, image);
  }
  out.view.scores = top_scores(logits, options.class_names, options.top);
  const int64_t target = options.target >= 0 ? options.target : logits.argmax().item<int64_t>();
  std::vector<std::string> methods = options.methods;
  if (methods.empty()) {
    if (attention) methods.push_back("rollout");
    methods.push_back("gradcam");
  }
  for (const auto& method : methods) {
    out.explanations.push_back(make_explainer(method)->explain(network, image, target));
    out.view.maps.push_back(map_view(out.explanations.back()));
  }
  if (options.grids) {
    out.view.grids.push_back(attention ? attention_grid(network, image)
                                       : grad_cam_grid(network, image, target));
  }
  return out;
}

}  // namespace fovea::explain
