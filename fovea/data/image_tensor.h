#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "fovea/io/image.h"

namespace fovea::data {

/// A decoded image as uint8 (C, H, W).
at::Tensor image_to_tensor(const io::Image& image);

/// uint8 (C, H, W), C = 1 or 3, as an image to be written. Throws Error (usage) for another type or shape.
io::Image tensor_to_image(const at::Tensor& image);

}  // namespace fovea::data
