#include "fovea/explain/scale_bar.h"

#include <algorithm>
#include <array>
#include <string>

#include "fovea/explain/html.h"

namespace fovea::explain {
namespace {

constexpr int64_t kGlyphWidth = 5, kGlyphHeight = 7, kAdvance = 6;
constexpr Rgb kInk{40, 40, 45}, kPaper{255, 255, 255};

using Glyph = std::array<const char*, kGlyphHeight>;

constexpr Glyph kDigits[10] = {
    {" ### ", "#   #", "#  ##", "# # #", "##  #", "#   #", " ### "},
    {"  #  ", " ##  ", "  #  ", "  #  ", "  #  ", "  #  ", " ### "},
    {" ### ", "#   #", "    #", "  ## ", " #   ", "#    ", "#####"},
    {" ### ", "#   #", "    #", "  ## ", "    #", "#   #", " ### "},
    {"   # ", "  ## ", " # # ", "#  # ", "#####", "   # ", "   # "},
    {"#####", "#    ", "#### ", "    #", "    #", "#   #", " ### "},
    {"  ## ", " #   ", "#    ", "#### ", "#   #", "#   #", " ### "},
    {"#####", "    #", "   # ", "  #  ", "  #  ", " #   ", " #   "},
    {" ### ", "#   #", "#   #", " ### ", "#   #", "#   #", " ### "},
    {" ### ", "#   #", "#   #", " ####", "    #", "   # ", " ##  "},
};
constexpr Glyph kPoint = {"     ", "     ", "     ", "     ", "     ", " ##  ", " ##  "};
constexpr Glyph kMinus = {"     ", "     ", "     ", " ### ", "     ", "     ", "     "};
constexpr Glyph kPlus = {"     ", "     ", "  #  ", " ### ", "  #  ", "     ", "     "};
constexpr Glyph kLetterE = {"     ", "     ", " ### ", "#   #", "#####", "#    ", " ### "};
constexpr Glyph kSpace = {"     ", "     ", "     ", "     ", "     ", "     ", "     "};
constexpr Glyph kFrame = {"#####", "#   #", "#   #", "#   #", "#   #", "#   #", "#####"};

const Glyph& glyph(char c) {
  if (c >= '0' && c <= '9') return kDigits[c - '0'];
  switch (c) {
    case '.':
      return kPoint;
    case '-':
      return kMinus;
    case '+':
      return kPlus;
    case 'e':
      return kLetterE;
    case ' ':
      return kSpace;
    default:
      return kFrame;
  }
}

void put(io::Image& image, int64_t x, int64_t y, Rgb colour) {
  if (x < 0 || y < 0 || x >= image.width || y >= image.height) return;
  uint8_t* p = image.pixels.data() + (y * image.width + x) * 3;
  p[0] = colour.r;
  p[1] = colour.g;
  p[2] = colour.b;
}

struct Box {
  int64_t left, top, width, height;
};

void fill(io::Image& image, const Box& box, Rgb colour) {
  for (int64_t y = box.top; y < box.top + box.height; ++y) {
    for (int64_t x = box.left; x < box.left + box.width; ++x) put(image, x, y, colour);
  }
}

io::Image widen(const io::Image& picture, int64_t width, int64_t height) {
  io::Image canvas;
  canvas.width = width;
  canvas.height = height;
  canvas.channels = 3;
  canvas.pixels.assign(width * height * 3, kPaper.r);
  for (int64_t y = 0; y < picture.height; ++y) {
    std::copy_n(picture.pixels.begin() + y * picture.width * 3, picture.width * 3,
                canvas.pixels.begin() + y * width * 3);
  }
  return canvas;
}

}  // namespace

int64_t text_width(std::string_view text, int64_t scale) {
  return text.empty() ? 0 : (static_cast<int64_t>(text.size()) * kAdvance - 1) * scale;
}

void draw_text(io::Image& image, int64_t x, int64_t y, std::string_view text, const TextStyle& style) {
  for (const char c : text) {
    const Glyph& rows = glyph(c);
    for (int64_t row = 0; row < kGlyphHeight; ++row) {
      for (int64_t column = 0; column < kGlyphWidth; ++column) {
        if (rows[row][column] != '#') continue;
        fill(image, {x + column * style.scale, y + row * style.scale, style.scale, style.scale},
             style.colour);
      }
    }
    x += kAdvance * style.scale;
  }
}

io::Image with_scale_bar(const io::Image& picture, const ColorMap& colours, double low, double high) {
  const int64_t height = std::max<int64_t>(picture.height, 40);
  const TextStyle style{kInk, std::max<int64_t>(1, height / 224)};
  const int64_t gap = 8 * style.scale, bar = 12 * style.scale, letter = kGlyphHeight * style.scale;
  const std::array<std::string, 3> labels = {short_number(high), short_number((low + high) / 2),
                                             short_number(low)};
  int64_t widest = 0;
  for (const auto& label : labels) widest = std::max(widest, text_width(label, style.scale));
  const int64_t left = picture.width + gap, tick = left + bar, text = tick + 6 * style.scale;
  io::Image out = widen(picture, text + widest + gap, height);
  // Half a letter above and below, so that the end labels stand beside the ends of the bar.
  const int64_t top = letter, length = height - 2 * letter;
  for (int64_t y = 0; y < length; ++y) {
    const double t = 1.0 - static_cast<double>(y) / static_cast<double>(length - 1);
    fill(out, {left, top + y, bar, 1}, colours.at(t));
  }
  for (int64_t i = 0; i < 3; ++i) {
    const int64_t y = top + i * (length - 1) / 2;
    fill(out, {tick, y - style.scale / 2, 3 * style.scale, style.scale}, kInk);
    draw_text(out, text, y - letter / 2, labels[i], style);
  }
  return out;
}

}  // namespace fovea::explain
