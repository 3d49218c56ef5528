#include "fovea/data/colour.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "fovea/core/error.h"
#include "fovea/data/parameters.h"
#include "fovea/data/planes.h"

// Compiled with -ffp-contract=off: torchvision rounds each product and sum to float32 by itself.
namespace fovea::data {
namespace {

constexpr Range kFactor{0, 1e6};

uint8_t to_pixel(float x) { return static_cast<uint8_t>(std::clamp(x, 0.0f, 255.0f)); }

// A new image whose pixel i of channel c is value(c, i).
template <class Value>
at::Tensor map_pixels(const Planes& in, Value value) {
  at::Tensor result = new_image(in.channels, in.height, in.width);
  auto* out = result.mutable_data_ptr<uint8_t>();
  const int64_t area = in.area();
  for (int64_t c = 0; c < in.channels; ++c) {
    for (int64_t i = 0; i < area; ++i) *out++ = value(c, i);
  }
  return result;
}

using Table = std::array<uint8_t, 256>;

// A new image that shows every pixel through its channel's table.
at::Tensor look_up(const Planes& in, const std::array<Table, 3>& tables) {
  at::Tensor result = new_image(in.channels, in.height, in.width);
  auto* out = result.mutable_data_ptr<uint8_t>();
  for (int64_t c = 0; c < in.channels; ++c) {
    const uint8_t* pixels = in.plane(c);
    out = std::transform(pixels, pixels + in.area(), out, [&](uint8_t x) { return tables[c][x]; });
  }
  return result;
}

// The same table for all channels, made by value(x).
template <class Value>
at::Tensor look_up_each(const at::Tensor& image, Value value) {
  std::array<Table, 3> tables;
  for (int x = 0; x < 256; ++x) tables[0][x] = value(x);
  tables[1] = tables[2] = tables[0];
  return look_up(Planes(image), tables);
}

uint8_t luminance(const Planes& in, int64_t i) {
  if (in.channels == 1) return in.data[i];
  const float r = in.plane(0)[i], g = in.plane(1)[i], b = in.plane(2)[i];
  return static_cast<uint8_t>((0.2989f * r + 0.587f * g) + 0.114f * b);
}

struct Blend {
  float own, other;

  explicit Blend(double factor) : own(static_cast<float>(factor)), other(static_cast<float>(1.0 - factor)) {}
  uint8_t operator()(float x, float y) const { return to_pixel(own * x + other * y); }
};

std::array<std::array<int64_t, 256>, 3> histograms(const Planes& in) {
  std::array<std::array<int64_t, 256>, 3> counts{};
  for (int64_t c = 0; c < in.channels; ++c) {
    for (int64_t i = 0; i < in.area(); ++i) ++counts[c][in.plane(c)[i]];
  }
  return counts;
}

Table stretched(const std::array<int64_t, 256>& counts) {
  int least = 0, largest = 255;
  while (counts[least] == 0) ++least;
  while (counts[largest] == 0) --largest;
  const bool flat = least == largest;
  const float scale = flat ? 1.0f : 255.0f / static_cast<float>(largest - least),
              from = flat ? 0.0f : static_cast<float>(least);
  Table table;
  for (int x = 0; x < 256; ++x) table[x] = to_pixel((static_cast<float>(x) - from) * scale);
  return table;
}

Table equalized(const std::array<int64_t, 256>& counts) {
  int64_t total = 0, last = 0;
  for (const int64_t count : counts) {
    total += count;
    if (count != 0) last = count;
  }
  const int64_t step = (total - last) / 255;
  Table table;
  int64_t below = step / 2;  // of the pixels darker than x, in counts
  for (int x = 0; x < 256; ++x) {
    table[x] =
        step == 0 ? static_cast<uint8_t>(x) : static_cast<uint8_t>(std::min<int64_t>(below / step, 255));
    below += counts[x];
  }
  return table;
}

// Hue turned: through HSV and back, with the operations and their order as torchvision has them.
std::array<float, 3> turn_hue(float r, float g, float b, float turn) {
  const float most = std::max({r, g, b}), least = std::min({r, g, b}), range = most - least;
  const bool grey = most == least;
  const float s = range / (grey ? 1.0f : most), divisor = grey ? 1.0f : range;
  const float rc = (most - r) / divisor, gc = (most - g) / divisor, bc = (most - b) / divisor;
  const float raw = most == r ? bc - gc : most == g ? (2.0f + rc) - bc : (4.0f + gc) - rc;
  float h = std::fmod(raw / 6.0f + 1.0f, 1.0f) + turn;
  h = std::fmod(h, 1.0f);
  if (h < 0) h += 1.0f;
  const float sector = std::floor(h * 6.0f), f = h * 6.0f - sector;
  const auto cut = [](float x) { return std::clamp(x, 0.0f, 1.0f); };
  const float p = cut(most * (1.0f - s)), q = cut(most * (1.0f - s * f)),
              t = cut(most * (1.0f - s * (1.0f - f)));
  switch (static_cast<int>(sector) % 6) {
    case 0:
      return {most, t, p};
    case 1:
      return {q, most, p};
    case 2:
      return {p, most, t};
    case 3:
      return {p, q, most};
    case 4:
      return {t, p, most};
    default:
      return {most, p, q};
  }
}

}  // namespace

at::Tensor adjust_brightness(const at::Tensor& image, double factor) {
  require_within("adjust_brightness", "factor", factor, kFactor);
  const Blend blend(factor);
  return look_up_each(image, [&](int x) { return blend(static_cast<float>(x), 0.0f); });
}

at::Tensor adjust_contrast(const at::Tensor& image, double factor) {
  require_within("adjust_contrast", "factor", factor, kFactor);
  const Planes in(image);
  int64_t sum = 0;
  for (int64_t i = 0; i < in.area(); ++i) sum += luminance(in, i);
  const float mean = static_cast<float>(sum) / static_cast<float>(in.area());
  const Blend blend(factor);
  return look_up_each(image, [&](int x) { return blend(static_cast<float>(x), mean); });
}

at::Tensor adjust_saturation(const at::Tensor& image, double factor) {
  require_within("adjust_saturation", "factor", factor, kFactor);
  const Planes in(image);
  if (in.channels == 1) return image;
  const at::Tensor grey = rgb_to_grayscale(image);
  const uint8_t* other = grey.const_data_ptr<uint8_t>();
  const Blend blend(factor);
  return map_pixels(in, [&](int64_t c, int64_t i) { return blend(in.plane(c)[i], other[i]); });
}

at::Tensor adjust_hue(const at::Tensor& image, double factor) {
  require_within("adjust_hue", "factor", factor, {-0.5, 0.5});
  const Planes in(image);
  if (in.channels == 1) return image;
  at::Tensor result = new_image(3, in.height, in.width);
  auto* out = result.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < in.area(); ++i) {
    const auto turned = turn_hue(in.plane(0)[i] / 255.0f, in.plane(1)[i] / 255.0f, in.plane(2)[i] / 255.0f,
                                 static_cast<float>(factor));
    for (int64_t c = 0; c < 3; ++c) out[c * in.area() + i] = static_cast<uint8_t>(turned[c] * 255.999f);
  }
  return result;
}

at::Tensor adjust_sharpness(const at::Tensor& image, double factor) {
  require_within("adjust_sharpness", "factor", factor, kFactor);
  const Planes in(image);
  if (in.height <= 2 || in.width <= 2) return image;
  const Blend blend(factor);
  const int64_t w = in.width;
  return map_pixels(in, [&](int64_t c, int64_t i) {
    const uint8_t* at = in.plane(c) + i;
    const int64_t y = i / w, x = i % w;
    if (y == 0 || x == 0 || y == in.height - 1 || x == w - 1) return blend(*at, *at);
    const int around = at[-w - 1] + at[-w] + at[-w + 1] + at[-1] + at[1] + at[w - 1] + at[w] + at[w + 1];
    // Rounded sum / 13, which is never halfway between two integers.
    return blend(*at, static_cast<float>((2 * (around + 5 * *at) + 13) / 26));
  });
}

at::Tensor invert(const at::Tensor& image) {
  return look_up_each(image, [](int x) { return static_cast<uint8_t>(255 - x); });
}

at::Tensor posterize(const at::Tensor& image, int bits) {
  require_within("posterize", "bits", bits, {0, 8});
  const int mask = 0xff & -(1 << (8 - bits));
  return look_up_each(image, [mask](int x) { return static_cast<uint8_t>(x & mask); });
}

at::Tensor solarize(const at::Tensor& image, double threshold) {
  require_within("solarize", "threshold", threshold, {-1e6, 255});
  const auto least = static_cast<float>(threshold);
  return look_up_each(
      image, [least](int x) { return static_cast<uint8_t>(static_cast<float>(x) >= least ? 255 - x : x); });
}

at::Tensor autocontrast(const at::Tensor& image) {
  const Planes in(image);
  const auto counts = histograms(in);
  std::array<Table, 3> tables;
  for (int64_t c = 0; c < in.channels; ++c) tables[c] = stretched(counts[c]);
  return look_up(in, tables);
}

at::Tensor equalize(const at::Tensor& image) {
  const Planes in(image);
  const auto counts = histograms(in);
  std::array<Table, 3> tables;
  for (int64_t c = 0; c < in.channels; ++c) tables[c] = equalized(counts[c]);
  return look_up(in, tables);
}

at::Tensor rgb_to_grayscale(const at::Tensor& image, int64_t channels) {
  if (channels != 1 && channels != 3) throw usage_error("rgb_to_grayscale", "channels must be 1 or 3.");
  const Planes in(image);
  at::Tensor result = new_image(channels, in.height, in.width);
  auto* out = result.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < in.area(); ++i) out[i] = luminance(in, i);
  for (int64_t c = 1; c < channels; ++c) std::copy_n(out, in.area(), out + c * in.area());
  return result;
}

}  // namespace fovea::data
