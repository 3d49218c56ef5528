#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <vector>

namespace fovea::data {

/// A map of the plane, in degrees and pixels; x to the right, y down, about the image's middle plus `center`.
struct AffineParameters {
  double angle = 0;                       ///< clockwise
  std::array<double, 2> translate{0, 0};  ///< x, y
  double scale = 1;
  std::array<double, 2> shear{0, 0};   ///< along x, along y
  std::array<double, 2> center{0, 0};  ///< of rotation and shear, from the image's middle
};

/// The inverse map's rows (a, b, c), (d, e, f): output (x, y) shows input (a x + b y + c, d x + e y + f).
/// With R the rotation, Sh the shears: inverse of T C R scale Sh C^-1. Source:
/// torchvision.transforms.functional.affine.
std::array<double, 6> inverse_affine_matrix(const AffineParameters& parameters);

/// The image through the map, nearest pixel; what falls outside is `fill` (one value, or one a channel; empty
/// = 0). Equals torchvision.transforms.functional.affine on uint8 tensors with interpolation NEAREST.
at::Tensor affine(const at::Tensor& image, const AffineParameters& parameters,
                  const std::vector<double>& fill = {});

/// Turned counter-clockwise by `angle` degrees about its middle; the size stays.
at::Tensor rotate(const at::Tensor& image, double angle, const std::vector<double>& fill = {});

/// Throws Error (usage) unless fill is empty or holds one or `channels` numbers in [0, 255].
void require_fill(const char* where, const std::vector<double>& fill, int64_t channels);

}  // namespace fovea::data
