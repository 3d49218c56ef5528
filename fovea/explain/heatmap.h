#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "fovea/io/image.h"

namespace fovea::explain {

/// A map stretched to [0, 1] together with the values that 0 and 1 stand for.
struct NormalisedMap {
  at::Tensor map;  ///< (h, w) float32 in [0, 1]
  double low = 0;  ///< what 0 stands for
  double high = 0;
};

/// Stretches a map to [0, 1].   map = (values - low) / (high - low), low = min (or 0 with `from_zero`), high
/// = max values (h, w), finite. A constant map gives zeros. With `from_zero` negative values give 0. Throws
/// fovea::Error (numeric) when a value is not finite, (usage) when values is no matrix or empty.
NormalisedMap normalise_map(const at::Tensor& values, bool from_zero = false);

/// Bilinear enlargement, pixel centres at half integers (torch's align_corners=False).
/// values (h, w) -> (height, width) float32. Values stay inside the input's range.
at::Tensor upscale_map(const at::Tensor& values, int64_t height, int64_t width);

/// A uint8 tensor (C, H, W), C = 1 or 3 -> image. Throws fovea::Error (usage) on another shape or type.
io::Image image_from_tensor(const at::Tensor& pixels);

/// A map as a picture of its own size: each value (clipped to [0, 1]) through the colour map.
io::Image colourise(const at::Tensor& map, const std::string& color_map = "inferno");

/// A small map as a table of coloured cells, each with its number, and the colour scale to the right.
/// values (h, w), finite; numbers have that many digits after the point; colours go from 0 to the largest
/// value. Throws fovea::Error as normalise_map().
io::Image numbered_map(const at::Tensor& values, int digits);

struct OverlayOptions {
  /// A name that color_map() takes.
  std::string color_map = "inferno";
  /// Share of the map's colour in the blend, in [0, 1].
  double alpha = 0.55;
  /// Keep the image's own colours instead of turning it to grey, so that all colour means the map.
  bool keep_colour = false;
  /// A picture whose longer side is shorter than this is enlarged by a whole factor: the image to squares
  /// (each pixel stays visible), the map smoothly.
  int64_t min_side = 224;
  /// Draw the colour scale with its numbers to the right.
  bool scale_bar = true;
  /// The numbers at the ends of the scale.
  double low = 0, high = 1;
};

/// The heat map laid over the image.   out = (1 - alpha) image + alpha colour(map)
/// map (h, w) in [0, 1], any resolution; image 1 or 3 channels -> image with 3 channels.
/// O(pixels of the result).
/// Throws fovea::Error (usage) on an empty image or alpha outside [0, 1].
io::Image overlay(const io::Image& image, const at::Tensor& map, const OverlayOptions& options = {});

}  // namespace fovea::explain
