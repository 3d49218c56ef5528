#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fovea::data {

/// The image resized to (height, width) by a triangle filter as wide as the reduction (antialiased bilinear),
/// equal to Pillow's Image.resize(..., BILINEAR) bit by bit: columns first, weights rounded to 22 bits, each
/// of the two passes rounded to 8 bits. uint8 (C, H, W) -> uint8 (C, height, width). Throws Error (usage)
/// unless both are in [1, 2^20]. O(C (H width + height width) max(1, reduction)) time.
at::Tensor resize_bilinear(const at::Tensor& image, int64_t height, int64_t width);

}  // namespace fovea::data
