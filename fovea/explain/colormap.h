#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::explain {

/// An sRGB colour, 8 bits a channel.
struct Rgb {
  uint8_t r = 0, g = 0, b = 0;
  bool operator==(const Rgb&) const = default;
};

/// sRGB -> OKLab (L, a, b), L in [0, 1]: a space in which equal distances look equally far apart.
/// Source: Ottosson 2020, A perceptual color space for image processing.
std::array<double, 3> to_oklab(Rgb colour);

/// OKLab -> sRGB, clipped to the gamut and rounded.
Rgb from_oklab(const std::array<double, 3>& lab);

/// A perceptual colour map: a number in [0, 1] becomes a colour whose lightness rises with it, so that the
/// map also reads in grey and for the colour-blind. Linear in OKLab between 16 evenly spaced colours; within
/// 7 of 255 of matplotlib's map of the same name.
class ColorMap {
 public:
  /// The colour at `t`; values outside [0, 1] are clipped, NaN is the colour of 0.   O(1).
  Rgb at(double t) const;

  const std::string& name() const { return name_; }

 private:
  friend const ColorMap& color_map(std::string_view name);
  ColorMap(std::string name, const std::vector<uint32_t>& colours);

  std::string name_;
  std::array<Rgb, 1024> table_;
};

/// The map `name`: "viridis" | "inferno" | "magma".
/// Throws fovea::Error (usage) with the nearest name when there is none.
/// Source: van der Walt and Smith 2015 (matplotlib's default maps, CC0).
const ColorMap& color_map(std::string_view name);

/// The names that color_map takes.
const std::vector<std::string>& color_map_names();

}  // namespace fovea::explain
