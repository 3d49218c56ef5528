#pragma once
#include <cstdint>
#include <string_view>

#include "fovea/explain/colormap.h"
#include "fovea/io/image.h"

namespace fovea::explain {

/// Width in pixels of `text` drawn by draw_text at `scale`.
int64_t text_width(std::string_view text, int64_t scale);

/// How draw_text writes.
struct TextStyle {
  Rgb colour;
  int64_t scale = 1;
};

/// Writes digits, '.', '-', '+', 'e' and spaces into an RGB image, upper left corner at (x, y), in letters of
/// 5 x 7 cells of `scale` pixels. Other characters show as an empty frame; what falls outside is cut off.
void draw_text(io::Image& image, int64_t x, int64_t y, std::string_view text, const TextStyle& style);

/// The picture with the colour scale to its right: a bar from `low` (bottom) to `high` (top) with the numbers
/// of its ends and its middle, on white. Same height as the picture, at least 40 pixels.
io::Image with_scale_bar(const io::Image& picture, const ColorMap& colours, double low, double high);

}  // namespace fovea::explain
