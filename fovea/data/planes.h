#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

namespace fovea::data {

/// An image's pixels as every kernel here reads them: uint8, channel after channel, row after row.
struct Planes {
  /// Throws Error (usage) unless image is uint8 (1|3, H, W) with H, W >= 1. Copies only what is not
  /// contiguous.
  explicit Planes(const at::Tensor& image);

  /// Pixels (C, H, W) that somebody else keeps alive.
  Planes(const uint8_t* pixels, std::array<int64_t, 3> shape)
      : data(pixels), channels(shape[0]), height(shape[1]), width(shape[2]) {}

  const uint8_t* plane(int64_t channel) const { return data + channel * area(); }
  int64_t area() const { return height * width; }
  int64_t size() const { return channels * area(); }

  at::Tensor tensor;  ///< the contiguous image, which keeps `data` alive; undefined for borrowed pixels
  const uint8_t* data = nullptr;
  int64_t channels = 0, height = 0, width = 0;
};

/// An uninitialised uint8 image (channels, height, width).
at::Tensor new_image(int64_t channels, int64_t height, int64_t width);

}  // namespace fovea::data
