#include "fovea/data/affine.h"

#include <fmt/format.h>

#include <cmath>

#include "fovea/core/error.h"
#include "fovea/data/parameters.h"
#include "fovea/data/planes.h"

// Compiled with -ffp-contract=off: the grid is rounded to float32 step by step, as torchvision's is.
namespace fovea::data {
namespace {

constexpr double kRadians = 3.14159265358979323846 / 180;

// One axis of torch's normalised grid, in [-1, 1] over the image, back to a pixel number.
int64_t pixel_of(float normalised, int64_t size) {
  const float position = ((normalised + 1.0f) * static_cast<float>(size) - 1.0f) / 2.0f;
  // Far outside is outside; a cast of what int64 cannot hold would be undefined.
  if (!(position > -1e9f && position < 1e9f)) return -1;
  return static_cast<int64_t>(std::nearbyint(position));
}

}  // namespace

std::array<double, 6> inverse_affine_matrix(const AffineParameters& p) {
  const double angle = p.angle * kRadians, sx = p.shear[0] * kRadians, sy = p.shear[1] * kRadians;
  const double a = std::cos(angle - sy) / std::cos(sy), c = std::sin(angle - sy) / std::cos(sy);
  const double b = -a * std::tan(sx) - std::sin(angle), d = -c * std::tan(sx) + std::cos(angle);
  // [a b; c d] has determinant 1, so its inverse is [d -b; -c a].
  std::array<double, 6> m = {d / p.scale, -b / p.scale, 0, -c / p.scale, a / p.scale, 0};
  const double x = -p.center[0] - p.translate[0], y = -p.center[1] - p.translate[1];
  m[2] = m[0] * x + m[1] * y + p.center[0];
  m[5] = m[3] * x + m[4] * y + p.center[1];
  return m;
}

void require_fill(const char* where, const std::vector<double>& fill, int64_t channels) {
  if (fill.size() > 1 && static_cast<int64_t>(fill.size()) != channels) {
    throw usage_error(
        where, fmt::format("there must be one number, or one a channel; found {} numbers for {} channels.",
                           fill.size(), channels));
  }
  for (const double value : fill) require_within(where, "fill", value, {0, 255});
}

at::Tensor affine(const at::Tensor& image, const AffineParameters& parameters,
                  const std::vector<double>& fill) {
  const Planes in(image);
  require_fill("affine", fill, in.channels);
  if (!(parameters.scale > 0))
    throw usage_error("affine", fmt::format("scale must be positive; found {}.", parameters.scale));
  const auto matrix = inverse_affine_matrix(parameters);
  std::array<float, 6> m;
  for (int i = 0; i < 6; ++i) {
    m[i] = static_cast<float>(matrix[i]) / (0.5f * static_cast<float>(i < 3 ? in.width : in.height));
  }
  std::array<uint8_t, 3> outside{};
  for (int64_t c = 0; c < in.channels && !fill.empty(); ++c) {
    outside[c] = static_cast<uint8_t>(round_half_even(fill[fill.size() == 1 ? 0 : c]));
  }
  at::Tensor result = new_image(in.channels, in.height, in.width);
  auto* out = result.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < in.height; ++i) {
    const float y = static_cast<float>(i) - static_cast<float>(in.height) * 0.5f + 0.5f;
    for (int64_t j = 0; j < in.width; ++j, ++out) {
      const float x = static_cast<float>(j) - static_cast<float>(in.width) * 0.5f + 0.5f;
      const int64_t column = pixel_of(x * m[0] + y * m[1] + m[2], in.width);
      const int64_t row = pixel_of(x * m[3] + y * m[4] + m[5], in.height);
      const bool inside = row >= 0 && row < in.height && column >= 0 && column < in.width;
      for (int64_t c = 0; c < in.channels; ++c) {
        out[c * in.area()] = inside ? in.plane(c)[row * in.width + column] : outside[c];
      }
    }
  }
  return result;
}

at::Tensor rotate(const at::Tensor& image, double angle, const std::vector<double>& fill) {
  AffineParameters parameters;
  parameters.angle = -angle;
  return affine(image, parameters, fill);
}

}  // namespace fovea::data
