#include "fovea/explain/heatmap.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "fovea/core/ceil_div.h"
#include "fovea/core/error.h"
#include "fovea/explain/colormap.h"
#include "fovea/explain/scale_bar.h"

namespace fovea::explain {
namespace {

std::string shape_text(const at::Tensor& t) {
  return t.defined() ? fmt::format("({})", fmt::join(t.sizes(), ", ")) : "no tensor";
}

void check_map(const char* where, const at::Tensor& map) {
  if (!map.defined() || map.dim() != 2 || map.numel() == 0) {
    throw usage_error(where, "a map is a matrix (h, w), not empty; found " + shape_text(map) + ".");
  }
}

void check_image(const char* where, const io::Image& image) {
  const bool channels = image.channels == 1 || image.channels == 3;
  const auto size = static_cast<int64_t>(image.pixels.size());
  if (!channels || size == 0 || size != image.width * image.height * image.channels) {
    throw usage_error(where, fmt::format("an image has 1 or 3 channels and width x height x channels bytes; "
                                         "found {} x {} x {} with {} bytes.",
                                         image.width, image.height, image.channels, image.pixels.size()));
  }
}

// The pixel in colour, or its Rec. 601 luma (as Pillow's convert("L")) three times.
std::array<uint8_t, 3> pixel_at(const io::Image& image, int64_t y, int64_t x, bool keep_colour) {
  const uint8_t* p = image.pixels.data() + (y * image.width + x) * image.channels;
  if (image.channels == 1) return {p[0], p[0], p[0]};
  if (keep_colour) return {p[0], p[1], p[2]};
  const auto grey = static_cast<uint8_t>((19595 * p[0] + 38470 * p[1] + 7471 * p[2] + 0x8000) >> 16);
  return {grey, grey, grey};
}

uint8_t blend(uint8_t below, uint8_t above, double alpha) {
  return static_cast<uint8_t>(std::lround((1 - alpha) * below + alpha * above));
}

}  // namespace

NormalisedMap normalise_map(const at::Tensor& values, bool from_zero) {
  check_map("normalise_map", values);
  const at::Tensor v = values.detach().to(at::kCPU, at::kDouble);
  if (!v.isfinite().all().item<bool>()) {
    throw numeric_error("normalise_map",
                        "a map must be finite; found NaN or infinity. Check the network's "
                        "weights and the image for values that are not finite.");
  }
  NormalisedMap result;
  result.low = from_zero ? 0.0 : v.min().item<double>();
  result.high = std::max(v.max().item<double>(), result.low);
  const double range = result.high - result.low;
  const at::Tensor map = range > 0 ? ((v - result.low) / range).clamp(0, 1) : at::zeros_like(v);
  result.map = map.to(at::kFloat);
  return result;
}

at::Tensor upscale_map(const at::Tensor& values, int64_t height, int64_t width) {
  check_map("upscale_map", values);
  if (height < 1 || width < 1) {
    throw usage_error("upscale_map", fmt::format("the size must be positive; found {} x {}.", height, width));
  }
  const at::Tensor v = values.detach().to(at::kCPU, at::kFloat).unsqueeze(0).unsqueeze(0);
  return at::upsample_bilinear2d(v, {height, width}, /*align_corners=*/false).squeeze(0).squeeze(0);
}

io::Image image_from_tensor(const at::Tensor& pixels) {
  const bool fits = pixels.defined() && pixels.dim() == 3 && (pixels.size(0) == 1 || pixels.size(0) == 3) &&
                    pixels.scalar_type() == at::kByte && pixels.numel() > 0;
  if (!fits) {
    throw usage_error("image_from_tensor",
                      "pixels are a uint8 tensor (1 or 3, H, W); found " + shape_text(pixels) + ".");
  }
  const at::Tensor hwc = pixels.permute({1, 2, 0}).contiguous();
  io::Image image;
  image.height = hwc.size(0);
  image.width = hwc.size(1);
  image.channels = hwc.size(2);
  image.pixels.assign(hwc.const_data_ptr<uint8_t>(), hwc.const_data_ptr<uint8_t>() + hwc.numel());
  return image;
}

io::Image colourise(const at::Tensor& map, const std::string& color_map_name) {
  check_map("colourise", map);
  const ColorMap& colours = color_map(color_map_name);
  const at::Tensor values = map.detach().to(at::kCPU, at::kFloat).contiguous();
  const float* v = values.const_data_ptr<float>();
  io::Image image;
  image.height = values.size(0);
  image.width = values.size(1);
  image.channels = 3;
  image.pixels.reserve(values.numel() * 3);
  for (int64_t i = 0; i < values.numel(); ++i) {
    const Rgb colour = colours.at(v[i]);
    image.pixels.insert(image.pixels.end(), {colour.r, colour.g, colour.b});
  }
  return image;
}

io::Image numbered_map(const at::Tensor& values, int digits) {
  constexpr int64_t kCell = 64;
  const TextStyle on_dark{{255, 255, 255}, 2}, on_light{{0, 0, 0}, 2};
  const auto [map, low, high] = normalise_map(values, /*from_zero=*/true);
  io::Image image = colourise(map.repeat_interleave(kCell, 0).repeat_interleave(kCell, 1));
  for (int64_t row = 0; row < map.size(0); ++row) {
    for (int64_t column = 0; column < map.size(1); ++column) {
      const std::string text = fmt::format("{:.{}f}", values[row][column].item<double>(), digits);
      const TextStyle& style = map[row][column].item<float>() > 0.5F ? on_light : on_dark;
      const int64_t left = (kCell - text_width(text, style.scale)) / 2;
      draw_text(image, column * kCell + left, row * kCell + kCell / 2 - 7, text, style);
    }
  }
  return with_scale_bar(image, color_map("inferno"), low, high);
}

io::Image overlay(const io::Image& image, const at::Tensor& map, const OverlayOptions& options) {
  check_image("overlay", image);
  check_map("overlay", map);
  if (!(options.alpha >= 0 && options.alpha <= 1)) {
    throw usage_error("overlay", fmt::format("alpha lies in [0, 1]; found {}.", options.alpha));
  }
  const int64_t longer = std::max(image.width, image.height);
  const int64_t factor = std::max<int64_t>(1, ceil_div(options.min_side, longer));
  io::Image out = colourise(upscale_map(map, image.height * factor, image.width * factor), options.color_map);
  for (int64_t y = 0; y < out.height; ++y) {
    for (int64_t x = 0; x < out.width; ++x) {
      const auto below = pixel_at(image, y / factor, x / factor, options.keep_colour);
      uint8_t* p = out.pixels.data() + (y * out.width + x) * 3;
      for (int k = 0; k < 3; ++k) p[k] = blend(below[k], p[k], options.alpha);
    }
  }
  if (!options.scale_bar) return out;
  return with_scale_bar(out, color_map(options.color_map), options.low, options.high);
}

}  // namespace fovea::explain
