#pragma once
#include <ATen/core/Tensor.h>

namespace fovea::data {

// Kernels on uint8 (C, H, W) images, C = 1 or 3; each gives a new image and leaves its input alone. They
// equal the functions of torchvision.transforms.functional of the same names on uint8 tensors. blend(a, b, r)
// = r a + (1 - r) b in float32, cut to [0, 255] and truncated. Factors must be >= 0: 0 gives the other image,
// 1 the image itself.

/// Blends with black.
at::Tensor adjust_brightness(const at::Tensor& image, double factor);

/// Blends with the mean of the grey image.
at::Tensor adjust_contrast(const at::Tensor& image, double factor);

/// Blends with the grey image; a grey image stays.
at::Tensor adjust_saturation(const at::Tensor& image, double factor);

/// Turns the hue by `factor` in [-0.5, 0.5] of the circle (through HSV in float32); a grey image stays.
at::Tensor adjust_hue(const at::Tensor& image, double factor);

/// Blends with the image smoothed by 3 x 3 weights 1 (centre 5) over 13; the border and images of at most two
/// rows or columns stay.
at::Tensor adjust_sharpness(const at::Tensor& image, double factor);

/// 255 - x.
at::Tensor invert(const at::Tensor& image);

/// Keeps the `bits` highest bits, 0 to 8.
at::Tensor posterize(const at::Tensor& image, int bits);

/// 255 - x where x >= threshold, which must be at most 255.
at::Tensor solarize(const at::Tensor& image, double threshold);

/// Stretches each channel so that its least value becomes 0 and its largest 255; one that never varies stays.
at::Tensor autocontrast(const at::Tensor& image);

/// Makes each channel's histogram flat.
at::Tensor equalize(const at::Tensor& image);

/// 0.2989 R + 0.587 G + 0.114 B, truncated, as `channels` (1 or 3) equal channels.
at::Tensor rgb_to_grayscale(const at::Tensor& image, int64_t channels = 1);

}  // namespace fovea::data
