#include "fovea/explain/explainer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/explain/attention_maps.h"
#include "fovea/explain/grad_cam.h"
#include "fovea/explain/gradient_maps.h"
#include "fovea/explain/heatmap.h"
#include "fovea/explain/occlusion.h"
#include "fovea/explain/probe.h"
#include "fovea/explain/rollout.h"
#include "fovea/nn/attention/options.h"

namespace fovea::explain {
namespace {

constexpr const char* kTransformers = "networks whose self-attention joins all places (ViT)";
constexpr const char* kPlaces = "networks with a layer of places (CNNs and vision transformers)";
constexpr int64_t kMostSteps = 100'000;
constexpr const char* kAny = "every network";

const ExplainerEntry& find_entry(std::string_view name) {
  std::vector<std::string> names;
  for (const auto& entry : explainer_entries()) {
    if (entry.name == name) return entry;
    names.push_back(entry.name);
  }
  throw usage_error("explain", fmt::format("no explainer is named so; found '{}'. {}", name,
                                           suggest_name(name, names, "`fovea list explainers` shows all.")));
}

template <class Number>
void parse_number(std::string_view key, std::string_view value, Number& out) {
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
  if (error != std::errc() || end != value.data() + value.size()) {
    throw usage_error("explain",
                      fmt::format("{} takes {}; found '{}'.", key,
                                  std::is_integral_v<Number> ? "a whole number" : "a number", value));
  }
}

void set_option(ExplainerOptions& options, std::string_view key, std::string_view value) {
  if (key == "layer") options.layer = value;
  if (key == "head_fusion") options.head_fusion = value;
  if (key == "head") parse_number(key, value, options.head);
  if (key == "discard_ratio") parse_number(key, value, options.discard_ratio);
  if (key == "steps") parse_number(key, value, options.steps);
  if (key == "baseline") parse_number(key, value, options.baseline);
  if (key == "window") parse_number(key, value, options.window);
  if (key == "stride") parse_number(key, value, options.stride);
  if (key == "batch_size") parse_number(key, value, options.batch_size);
}

void check_options(const ExplainerOptions& options) {
  const auto require = [](bool fits, const std::string& rule) {
    if (!fits) throw usage_error("explain", rule);
  };
  require(options.head >= -1, fmt::format("head is -1 (all) or a number from 0; found {}.", options.head));
  const std::string& fusion = options.head_fusion;
  if (fusion != "mean" && fusion != "max" && fusion != "min") {
    throw usage_error("explain", fmt::format("head_fusion is mean, max or min; found '{}'. {}", fusion,
                                             suggest_name(fusion, {"mean", "max", "min"}, "Use mean.")));
  }
  require(options.discard_ratio >= 0 && options.discard_ratio < 1,
          fmt::format("discard_ratio lies in [0, 1); found {}.", options.discard_ratio));
  require(options.steps >= 1 && options.steps <= kMostSteps,
          fmt::format("steps is at least 1 and at most {}; found {}. Some hundreds are enough.", kMostSteps,
                      options.steps));
  require(std::abs(options.baseline) <= std::numeric_limits<float>::max(),
          fmt::format("baseline is finite in float32; found {}. Use a value that pixels have.",
                      options.baseline));
  require(
      options.window >= 0 && options.stride >= 0,
      fmt::format("window and stride are not negative; found {} and {}.", options.window, options.stride));
  require(options.batch_size >= 1, fmt::format("batch_size is at least 1; found {}.", options.batch_size));
}

}  // namespace

Explanation Explainer::explain(models::ImageNetwork& network, const at::Tensor& image, int64_t target) const {
  check_single_image(name(), image);
  const EvaluationScope evaluation(network);
  at::Tensor logits;
  {
    const at::NoGradGuard no_grad;
    logits = network.forward(image)[0].to(at::kCPU, at::kDouble);
  }
  if (target < -1 || target >= logits.size(0)) {
    throw usage_error(name(), fmt::format("the network has {} classes, counted from 0; found class {}.",
                                          logits.size(0), target));
  }
  if (!logits.isfinite().all().item<bool>()) {
    throw numeric_error(name(),
                        "the network's scores must be finite; found NaN or infinity. Use a checkpoint from "
                        "before the numbers went wrong.");
  }
  Explanation result;
  result.method = name();
  result.target = target >= 0 ? target : logits.argmax().item<int64_t>();
  result.score = logits[result.target].item<double>();
  Attribution found = attribute(network, image, result.target);
  result.values = found.values.detach().to(at::kCPU, at::kFloat);
  const auto normalised = normalise_map(result.values, found.from_zero);
  result.map = upscale_map(normalised.map, image.size(2), image.size(3));
  result.low = normalised.low;
  result.high = normalised.high;
  result.layer = std::move(found.layer);
  result.check = std::move(found.check);
  return result;
}

const std::vector<ExplainerEntry>& explainer_entries() {
  static const std::vector<ExplainerEntry> entries = {
      {"rollout",
       "Attention followed through all layers to the patches",
       "Abnar and Zuidema 2020",
       kTransformers,
       {"layer", "head", "head_fusion", "discard_ratio"}},
      {"attention",
       "Raw attention of one layer and head",
       "Vaswani et al. 2017",
       kTransformers,
       {"layer", "head", "head_fusion"}},
      {"gradcam",
       "A layer's channels weighted by the gradient of the score",
       "Selvaraju et al. 2017",
       kPlaces,
       {"layer"}},
      {"gradcam++",
       "Grad-CAM that weights each place's positive gradient",
       "Chattopadhay et al. 2018",
       kPlaces,
       {"layer"}},
      {"saliency", "Size of the score's gradient at each pixel", "Simonyan et al. 2013", kAny, {}},
      {"input_x_gradient", "Pixel times gradient", "Shrikumar et al. 2016", kAny, {}},
      {"integrated_gradients",
       "Gradients integrated from a blank image; attributions sum to the score's change",
       "Sundararajan et al. 2017",
       kAny,
       {"steps", "baseline", "batch_size"}},
      {"occlusion",
       "Fall of the score when a square is covered",
       "Zeiler and Fergus 2014",
       kAny,
       {"window", "stride", "baseline", "batch_size"}},
  };
  return entries;
}

std::unique_ptr<Explainer> make_explainer(std::string_view name, const ExplainerOptions& options) {
  find_entry(name);
  check_options(options);
  if (name == "rollout") return std::make_unique<Rollout>(options);
  if (name == "attention") return std::make_unique<RawAttention>(options);
  if (name == "gradcam") return std::make_unique<GradCam>(options);
  if (name == "gradcam++") return std::make_unique<GradCamPlusPlus>(options);
  if (name == "saliency") return std::make_unique<Saliency>();
  if (name == "input_x_gradient") return std::make_unique<InputXGradient>();
  if (name == "integrated_gradients") return std::make_unique<IntegratedGradients>(options);
  return std::make_unique<Occlusion>(options);
}

std::unique_ptr<Explainer> make_explainer(std::string_view spec) {
  const auto [name, settings] = nn::split_name(std::string(spec));
  const ExplainerEntry& entry = find_entry(name);
  ExplainerOptions options;
  for (const auto& [key, value] : nn::split_settings("explain", settings)) {
    if (std::find(entry.options.begin(), entry.options.end(), key) == entry.options.end()) {
      const std::string otherwise = entry.options.empty()
                                        ? "It takes none."
                                        : fmt::format("It takes {}.", fmt::join(entry.options, ", "));
      throw usage_error("explain", fmt::format("{} has no such option; found '{}'. {}", entry.name, key,
                                               suggest_name(key, entry.options, otherwise)));
    }
    set_option(options, key, value);
  }
  return make_explainer(entry.name, options);
}

std::string default_explainer(models::ImageNetwork& network, const at::Tensor& image) {
  check_single_image("explain", image);
  const EvaluationScope evaluation(network);
  return has_global_attention(network, image) ? "rollout" : "gradcam";
}

}  // namespace fovea::explain
