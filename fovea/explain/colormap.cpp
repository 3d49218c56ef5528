#include "fovea/explain/colormap.h"

#include <algorithm>
#include <cmath>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"

namespace fovea::explain {
namespace {

double linear_from_srgb(uint8_t channel) {
  const double c = channel / 255.0;
  return c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4);
}

uint8_t srgb_from_linear(double c) {
  c = std::clamp(c, 0.0, 1.0);
  const double encoded = c <= 0.0031308 ? 12.92 * c : 1.055 * std::pow(c, 1 / 2.4) - 0.055;
  return static_cast<uint8_t>(std::lround(255 * encoded));
}

// Every 17th of the 256 colours of matplotlib's maps, as 0xrrggbb.
const std::vector<uint32_t> kViridis = {0x440154, 0x481a6c, 0x472f7d, 0x414487, 0x39568c, 0x31688e,
                                        0x2a788e, 0x23888e, 0x1f988b, 0x22a884, 0x35b779, 0x54c568,
                                        0x7ad151, 0xa5db36, 0xd2e21b, 0xfde725};
const std::vector<uint32_t> kInferno = {0x000004, 0x0c0826, 0x240c4f, 0x420a68, 0x5d126e, 0x781c6d,
                                        0x932667, 0xae305c, 0xc73e4c, 0xdd513a, 0xed6925, 0xf8850f,
                                        0xfca50a, 0xfac62d, 0xf2e661, 0xfcffa4};
const std::vector<uint32_t> kMagma = {0x000004, 0x0b0924, 0x20114b, 0x3b0f70, 0x57157e, 0x721f81,
                                      0x8c2981, 0xa8327d, 0xc43c75, 0xde4968, 0xf1605d, 0xfa7f5e,
                                      0xfe9f6d, 0xfebf84, 0xfddea0, 0xfcfdbf};

Rgb unpack(uint32_t colour) {
  return {static_cast<uint8_t>(colour >> 16), static_cast<uint8_t>(colour >> 8),
          static_cast<uint8_t>(colour)};
}

}  // namespace

std::array<double, 3> to_oklab(Rgb colour) {
  const double r = linear_from_srgb(colour.r), g = linear_from_srgb(colour.g), b = linear_from_srgb(colour.b);
  const double l = std::cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const double m = std::cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const double s = std::cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return {0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
          1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
          0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s};
}

Rgb from_oklab(const std::array<double, 3>& lab) {
  const double l = std::pow(lab[0] + 0.3963377774 * lab[1] + 0.2158037573 * lab[2], 3);
  const double m = std::pow(lab[0] - 0.1055613458 * lab[1] - 0.0638541728 * lab[2], 3);
  const double s = std::pow(lab[0] - 0.0894841775 * lab[1] - 1.2914855480 * lab[2], 3);
  return {srgb_from_linear(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
          srgb_from_linear(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
          srgb_from_linear(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s)};
}

ColorMap::ColorMap(std::string name, const std::vector<uint32_t>& colours) : name_(std::move(name)) {
  const size_t last = colours.size() - 1;
  for (size_t i = 0; i < table_.size(); ++i) {
    const double position = static_cast<double>(i * last) / static_cast<double>(table_.size() - 1);
    const size_t left = std::min(static_cast<size_t>(position), last - 1);
    const double weight = position - static_cast<double>(left);
    const auto from = to_oklab(unpack(colours[left])), to = to_oklab(unpack(colours[left + 1]));
    std::array<double, 3> lab;
    for (size_t k = 0; k < 3; ++k) lab[k] = from[k] + weight * (to[k] - from[k]);
    table_[i] = from_oklab(lab);
  }
}

Rgb ColorMap::at(double t) const {
  // Written so that NaN takes the first branch.
  if (!(t > 0)) return table_.front();
  if (t >= 1) return table_.back();
  return table_[static_cast<size_t>(std::lround(t * static_cast<double>(table_.size() - 1)))];
}

const ColorMap& color_map(std::string_view name) {
  static const std::vector<ColorMap> maps = {{"viridis", kViridis}, {"inferno", kInferno}, {"magma", kMagma}};
  for (const auto& map : maps) {
    if (map.name() == name) return map;
  }
  throw usage_error("color_map", "no colour map is named so; found '" + std::string(name) + "'. " +
                                     suggest_name(name, color_map_names(), "Use viridis or inferno."));
}

const std::vector<std::string>& color_map_names() {
  static const std::vector<std::string> names = {"viridis", "inferno", "magma"};
  return names;
}

}  // namespace fovea::explain
