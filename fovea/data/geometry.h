#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>

namespace fovea::data {

// Kernels on uint8 (C, H, W) images; each gives a new image and leaves its input alone. They equal the
// functions of torchvision.transforms.functional whose names they bear.

/// Columns in reverse order.
at::Tensor horizontal_flip(const at::Tensor& image);

/// Rows in reverse order.
at::Tensor vertical_flip(const at::Tensor& image);

/// A rectangle of pixels by its corner and size.
struct Region {
  int64_t top = 0, left = 0, height = 0, width = 0;
};

/// The pixels of the region; those outside the image are 0.
at::Tensor crop(const at::Tensor& image, const Region& region);

/// The middle (height, width); a smaller image is padded with 0 first, the odd pixel going to the right and
/// bottom.
at::Tensor center_crop(const at::Tensor& image, int64_t height, int64_t width);

/// What stands beside the image after padding: one value, its border, its mirror image without or with the
/// border.
enum class PaddingMode { constant, edge, reflect, symmetric };

/// The name of a padding mode as torchvision writes it, and back (Error (usage) with the nearest for
/// another).
const char* padding_mode_name(PaddingMode mode);
PaddingMode padding_mode_from_name(const std::string& name);

/// How much is added on each side, and what.
struct Padding {
  int64_t left = 0, top = 0, right = 0, bottom = 0;
  uint8_t fill = 0;  ///< for the constant mode
  PaddingMode mode = PaddingMode::constant;
};

/// Throws Error (data) when the image is too small to be mirrored so far.
at::Tensor pad(const at::Tensor& image, const Padding& padding);

/// The size after which the shorter edge is `size`: the longer becomes floor(size * longer / shorter).
std::array<int64_t, 2> shorter_edge_size(int64_t height, int64_t width, int64_t size);

}  // namespace fovea::data
