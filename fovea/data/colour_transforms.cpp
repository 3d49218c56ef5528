#include "fovea/data/colour_transforms.h"

#include <nlohmann/json.hpp>

#include "fovea/data/colour.h"

namespace fovea::data {
namespace {

bool stays(Range range, double neutral) { return range.low == neutral && range.high == neutral; }

}  // namespace

ColorJitter::ColorJitter(const ColorJitterOptions& options) : options_(options) {
  constexpr Range factor{0, 1e6};
  require_range("color_jitter", "brightness", options.brightness, factor);
  require_range("color_jitter", "contrast", options.contrast, factor);
  require_range("color_jitter", "saturation", options.saturation, factor);
  require_range("color_jitter", "hue", options.hue, {-0.5, 0.5});
}

at::Tensor ColorJitter::apply(const at::Tensor& image, Random& random) const {
  struct Step {
    Range range;
    double neutral;
    at::Tensor (*adjust)(const at::Tensor&, double);
    double factor = 0;
  };
  std::array<Step, 4> steps = {{{options_.brightness, 1, adjust_brightness},
                                {options_.contrast, 1, adjust_contrast},
                                {options_.saturation, 1, adjust_saturation},
                                {options_.hue, 0, adjust_hue}}};
  for (auto& step : steps) step.factor = step.range.draw(random);
  for (size_t i = steps.size() - 1; i > 0; --i) std::swap(steps[i], steps[random.below(i + 1)]);
  at::Tensor result = image;
  for (const auto& step : steps) {
    if (!stays(step.range, step.neutral)) result = step.adjust(result, step.factor);
  }
  return result;
}

nlohmann::json ColorJitter::describe() const {
  return {{"color_jitter",
           {{"brightness", options_.brightness.pair()},
            {"contrast", options_.contrast.pair()},
            {"saturation", options_.saturation.pair()},
            {"hue", options_.hue.pair()}}}};
}

Grayscale::Grayscale(int64_t num_output_channels) : channels_(num_output_channels) {
  if (channels_ != 3) {
    require_within("grayscale", "num_output_channels", static_cast<double>(channels_), {1, 1});
  }
}

at::Tensor Grayscale::apply(const at::Tensor& image, Random&) const {
  return rgb_to_grayscale(image, channels_);
}

nlohmann::json Grayscale::describe() const { return {{"grayscale", {{"num_output_channels", channels_}}}}; }

RandomGrayscale::RandomGrayscale(double p) : p_(p) { require_within("random_grayscale", "p", p, {0, 1}); }

at::Tensor RandomGrayscale::apply(const at::Tensor& image, Random& random) const {
  return happens(p_, random) ? rgb_to_grayscale(image, image.size(0)) : image;
}

nlohmann::json RandomGrayscale::describe() const { return {{"random_grayscale", {{"p", p_}}}}; }

at::Tensor ToRgb::apply(const at::Tensor& image, Random&) const {
  return image.size(0) == 3 ? image : rgb_to_grayscale(image, 3);
}

nlohmann::json ToRgb::describe() const { return {{"to_rgb", nlohmann::json::object()}}; }

}  // namespace fovea::data
