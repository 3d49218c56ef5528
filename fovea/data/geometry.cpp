#include "fovea/data/geometry.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/data/planes.h"

namespace fovea::data {
namespace {

struct ModeName {
  PaddingMode mode;
  const char* name;
};
constexpr std::array<ModeName, 4> kModes = {{{PaddingMode::constant, "constant"},
                                             {PaddingMode::edge, "edge"},
                                             {PaddingMode::reflect, "reflect"},
                                             {PaddingMode::symmetric, "symmetric"}}};

// Which input position an output position of a padded axis shows; -1 = the fill.
std::vector<int64_t> padded_axis(int64_t size, int64_t before, int64_t after, PaddingMode mode) {
  const int64_t most = mode == PaddingMode::reflect     ? size - 1
                       : mode == PaddingMode::symmetric ? size
                                                        : before + after;
  if (before > most || after > most) {
    throw data_error("pad", fmt::format("mode {} can add at most {} pixels to {}; found {} and {}.",
                                        padding_mode_name(mode), most, size, before, after));
  }
  std::vector<int64_t> source;
  for (int64_t i = -before; i < size + after; ++i) {
    int64_t from = i;
    if (mode == PaddingMode::constant && (i < 0 || i >= size)) from = -1;
    if (mode == PaddingMode::edge) from = std::clamp<int64_t>(i, 0, size - 1);
    if (mode == PaddingMode::reflect) from = i < 0 ? -i : i >= size ? 2 * (size - 1) - i : i;
    if (mode == PaddingMode::symmetric) from = i < 0 ? -i - 1 : i >= size ? 2 * size - 1 - i : i;
    source.push_back(from);
  }
  return source;
}

}  // namespace

at::Tensor horizontal_flip(const at::Tensor& image) {
  const Planes in(image);
  at::Tensor result = new_image(in.channels, in.height, in.width);
  auto* out = result.mutable_data_ptr<uint8_t>();
  for (int64_t row = 0; row < in.channels * in.height; ++row) {
    const uint8_t* from = in.data + row * in.width;
    std::reverse_copy(from, from + in.width, out + row * in.width);
  }
  return result;
}

at::Tensor vertical_flip(const at::Tensor& image) {
  const Planes in(image);
  at::Tensor result = new_image(in.channels, in.height, in.width);
  auto* out = result.mutable_data_ptr<uint8_t>();
  for (int64_t c = 0; c < in.channels; ++c) {
    for (int64_t y = in.height - 1; y >= 0; --y) out = std::copy_n(in.plane(c) + y * in.width, in.width, out);
  }
  return result;
}

at::Tensor crop(const at::Tensor& image, const Region& region) {
  if (region.height < 1 || region.width < 1) {
    throw usage_error("crop", fmt::format("the region must have at least one pixel; found {} x {}.",
                                          region.height, region.width));
  }
  const Planes in(image);
  at::Tensor result = new_image(in.channels, region.height, region.width);
  auto* out = result.mutable_data_ptr<uint8_t>();
  const int64_t left = std::clamp<int64_t>(-region.left, 0, region.width);
  const int64_t shown = std::clamp<int64_t>(in.width - region.left, left, region.width) - left;
  for (int64_t c = 0; c < in.channels; ++c) {
    for (int64_t y = region.top; y < region.top + region.height; ++y, out += region.width) {
      const bool inside = y >= 0 && y < in.height && shown > 0;
      if (!inside || shown < region.width) std::fill_n(out, region.width, uint8_t{0});
      if (inside) std::copy_n(in.plane(c) + y * in.width + region.left + left, shown, out + left);
    }
  }
  return result;
}

at::Tensor center_crop(const at::Tensor& image, int64_t height, int64_t width) {
  const int64_t h = image.size(-2), w = image.size(-1);
  // As torchvision: a missing pixel more goes after, an excess is split by rounding half to even.
  const auto start = [](int64_t have, int64_t want) {
    return have < want ? -((want - have) / 2)
                       : static_cast<int64_t>(std::nearbyint(static_cast<double>(have - want) / 2));
  };
  return crop(image, {start(h, height), start(w, width), height, width});
}

const char* padding_mode_name(PaddingMode mode) {
  for (const auto& row : kModes) {
    if (row.mode == mode) return row.name;
  }
  return "";
}

PaddingMode padding_mode_from_name(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& row : kModes) {
    if (name == row.name) return row.mode;
    names.emplace_back(row.name);
  }
  throw usage_error("pad",
                    fmt::format("'{}' is no padding mode. {}", name,
                                suggest_name(name, names, "Known are constant, edge, reflect, symmetric.")));
}

at::Tensor pad(const at::Tensor& image, const Padding& padding) {
  const Planes in(image);
  const auto rows = padded_axis(in.height, padding.top, padding.bottom, padding.mode);
  const auto columns = padded_axis(in.width, padding.left, padding.right, padding.mode);
  at::Tensor result =
      new_image(in.channels, static_cast<int64_t>(rows.size()), static_cast<int64_t>(columns.size()));
  auto* out = result.mutable_data_ptr<uint8_t>();
  for (int64_t c = 0; c < in.channels; ++c) {
    for (const int64_t y : rows) {
      const uint8_t* from = in.plane(c) + std::max<int64_t>(y, 0) * in.width;
      for (const int64_t x : columns) *out++ = y < 0 || x < 0 ? padding.fill : from[x];
    }
  }
  return result;
}

std::array<int64_t, 2> shorter_edge_size(int64_t height, int64_t width, int64_t size) {
  // Integer division equals Python's int(size * long / short) for all sizes below 2^26.
  if (height <= width) return {size, size * width / height};
  return {size * height / width, size};
}

}  // namespace fovea::data
