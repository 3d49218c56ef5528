#include "fovea/data/geometry_transforms.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "fovea/core/error.h"
#include "fovea/data/resample.h"

namespace fovea::data {
namespace {

constexpr Range kProbability{0, 1};
constexpr Range kPositive{std::numeric_limits<double>::min(), 1e6};

at::Tensor padded_to(const at::Tensor& image, PixelSize size, Padding padding) {
  const int64_t rows = std::max<int64_t>(size.height - image.size(1), 0);
  const int64_t columns = std::max<int64_t>(size.width - image.size(2), 0);
  if (rows == 0 && columns == 0) return image;
  padding.left = padding.right = columns;
  padding.top = padding.bottom = rows;
  return pad(image, padding);
}

}  // namespace

Resize::Resize(PixelSize size) : size_(size) { require_size("resize", size); }

Resize::Resize(int64_t shorter_edge) : size_{shorter_edge, 0} {
  require_size("resize", {shorter_edge, shorter_edge});
}

at::Tensor Resize::apply(const at::Tensor& image, Random&) const {
  if (size_.width != 0) return resize_bilinear(image, size_.height, size_.width);
  const auto [height, width] = shorter_edge_size(image.size(1), image.size(2), size_.height);
  return resize_bilinear(image, height, width);
}

std::optional<PixelSize> Resize::output_size(std::optional<PixelSize> image) const {
  if (size_.width != 0) return size_;
  if (!image) return std::nullopt;
  const auto [height, width] = shorter_edge_size(image->height, image->width, size_.height);
  return PixelSize{height, width};
}

nlohmann::json Resize::describe() const {
  return {
      {"resize", {{"size", size_.width == 0 ? nlohmann::json(size_.height) : nlohmann::json(size_.pair())}}}};
}

CenterCrop::CenterCrop(PixelSize size) : size_(size) { require_size("center_crop", size); }

at::Tensor CenterCrop::apply(const at::Tensor& image, Random&) const {
  return center_crop(image, size_.height, size_.width);
}

nlohmann::json CenterCrop::describe() const { return {{"center_crop", {{"size", size_.pair()}}}}; }

RandomCrop::RandomCrop(const RandomCropOptions& options) : options_(options) {
  require_size("random_crop", options.size);
  const Padding& p = options.padding;
  for (const int64_t side : {p.left, p.top, p.right, p.bottom}) {
    require_within("random_crop", "padding", static_cast<double>(side), {0, 65536});
  }
}

at::Tensor RandomCrop::apply(const at::Tensor& image, Random& random) const {
  const Padding& p = options_.padding;
  // A constant border need not be made: the region may reach beyond the image, where crop() gives 0.
  const bool virtual_border = p.mode == PaddingMode::constant && p.fill == 0 && !options_.pad_if_needed;
  at::Tensor whole = image;
  if (!virtual_border && (p.left | p.top | p.right | p.bottom) != 0) whole = pad(whole, p);
  if (options_.pad_if_needed) whole = padded_to(whole, options_.size, p);
  const int64_t top = virtual_border ? p.top : 0, left = virtual_border ? p.left : 0;
  const int64_t height = whole.size(1) + (virtual_border ? p.top + p.bottom : 0);
  const int64_t width = whole.size(2) + (virtual_border ? p.left + p.right : 0);
  const auto [rows, columns] = options_.size;
  if (rows > height || columns > width) {
    throw data_error("random_crop",
                     fmt::format("the crop must not be larger than the padded image; found {} x {} of "
                                 "{} x {}. Resize first or set pad_if_needed.",
                                 rows, columns, height, width));
  }
  const int64_t y = offset_up_to(height - rows, random), x = offset_up_to(width - columns, random);
  return crop(whole, {y - top, x - left, rows, columns});
}

nlohmann::json RandomCrop::describe() const {
  const Padding& p = options_.padding;
  return {{"random_crop",
           {{"size", options_.size.pair()},
            {"padding", {p.left, p.top, p.right, p.bottom}},
            {"pad_if_needed", options_.pad_if_needed},
            {"fill", p.fill},
            {"padding_mode", padding_mode_name(p.mode)}}}};
}

RandomHorizontalFlip::RandomHorizontalFlip(double p) : p_(p) {
  require_within("random_horizontal_flip", "p", p, kProbability);
}

at::Tensor RandomHorizontalFlip::apply(const at::Tensor& image, Random& random) const {
  return happens(p_, random) ? horizontal_flip(image) : image;
}

nlohmann::json RandomHorizontalFlip::describe() const { return {{"random_horizontal_flip", {{"p", p_}}}}; }

RandomVerticalFlip::RandomVerticalFlip(double p) : p_(p) {
  require_within("random_vertical_flip", "p", p, kProbability);
}

at::Tensor RandomVerticalFlip::apply(const at::Tensor& image, Random& random) const {
  return happens(p_, random) ? vertical_flip(image) : image;
}

nlohmann::json RandomVerticalFlip::describe() const { return {{"random_vertical_flip", {{"p", p_}}}}; }

RandomResizedCrop::RandomResizedCrop(const RandomResizedCropOptions& options) : options_(options) {
  require_size("random_resized_crop", options.size);
  require_range("random_resized_crop", "scale", options.scale, kPositive);
  require_range("random_resized_crop", "ratio", options.ratio, kPositive);
}

Region RandomResizedCrop::draw(int64_t height, int64_t width, Random& random) const {
  const auto area = static_cast<double>(height * width);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * options_.scale.draw(random), ratio = options_.ratio.draw_log(random);
    const int64_t w = round_half_even(std::sqrt(target * ratio)),
                  h = round_half_even(std::sqrt(target / ratio));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const int64_t top = offset_up_to(height - h, random);
    return {top, offset_up_to(width - w, random), h, w};
  }
  const double ratio = static_cast<double>(width) / static_cast<double>(height);
  int64_t w = width, h = height;
  if (ratio < options_.ratio.low) h = round_half_even(static_cast<double>(w) / options_.ratio.low);
  if (ratio > options_.ratio.high) w = round_half_even(static_cast<double>(h) * options_.ratio.high);
  h = std::clamp<int64_t>(h, 1, height);
  w = std::clamp<int64_t>(w, 1, width);
  return {(height - h) / 2, (width - w) / 2, h, w};
}

at::Tensor RandomResizedCrop::apply(const at::Tensor& image, Random& random) const {
  const Region region = draw(image.size(1), image.size(2), random);
  return resize_bilinear(crop(image, region), options_.size.height, options_.size.width);
}

nlohmann::json RandomResizedCrop::describe() const {
  return {
      {"random_resized_crop",
       {{"size", options_.size.pair()}, {"scale", options_.scale.pair()}, {"ratio", options_.ratio.pair()}}}};
}

}  // namespace fovea::data
