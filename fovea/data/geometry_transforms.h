#pragma once
#include <optional>

#include "fovea/data/geometry.h"
#include "fovea/data/parameters.h"
#include "fovea/data/transform.h"

namespace fovea::data {

// torchvision.transforms' classes of the same names; options and defaults are theirs. Constructors throw
// Error (usage) for values out of range.

/// Resizes as Pillow does (resize_bilinear): to a pair, or the shorter edge to a number.
class Resize : public Transform {
 public:
  explicit Resize(PixelSize size);
  explicit Resize(int64_t shorter_edge);
  at::Tensor apply(const at::Tensor& image, Random& random) const override;
  std::optional<PixelSize> output_size(std::optional<PixelSize> image) const override;
  nlohmann::json describe() const override;

 private:
  PixelSize size_;  // width 0 = height is the shorter edge's
};

/// The middle of the image, padded with 0 when it is smaller.
class CenterCrop : public Transform {
 public:
  explicit CenterCrop(PixelSize size);
  at::Tensor apply(const at::Tensor& image, Random& random) const override;
  std::optional<PixelSize> output_size(std::optional<PixelSize>) const override { return size_; }
  nlohmann::json describe() const override;

 private:
  PixelSize size_;
};

struct RandomCropOptions {
  PixelSize size;
  Padding padding;  ///< added first; its mode and fill also serve pad_if_needed
  bool pad_if_needed =
      false;  ///< add the missing pixels on both sides of an image that is smaller than `size`
};

/// A region of fixed size at a uniform place. apply throws Error (data) for an image that is too small.
class RandomCrop : public Transform {
 public:
  explicit RandomCrop(const RandomCropOptions& options);
  at::Tensor apply(const at::Tensor& image, Random& random) const override;
  std::optional<PixelSize> output_size(std::optional<PixelSize>) const override { return options_.size; }
  nlohmann::json describe() const override;

 private:
  RandomCropOptions options_;
};

/// Mirrors left and right with probability p.
class RandomHorizontalFlip : public Transform {
 public:
  explicit RandomHorizontalFlip(double p = 0.5);
  at::Tensor apply(const at::Tensor& image, Random& random) const override;
  nlohmann::json describe() const override;

 private:
  double p_;
};

/// Mirrors top and bottom with probability p.
class RandomVerticalFlip : public Transform {
 public:
  explicit RandomVerticalFlip(double p = 0.5);
  at::Tensor apply(const at::Tensor& image, Random& random) const override;
  nlohmann::json describe() const override;

 private:
  double p_;
};

struct RandomResizedCropOptions {
  PixelSize size;
  Range scale{0.08, 1};           ///< of the region's area, as a share of the image's
  Range ratio{3.0 / 4, 4.0 / 3};  ///< of the region's width to its height, uniform in the logarithm
};

/// A region of random area and aspect ratio, resized. Source: Going deeper with convolutions (Szegedy et al.
/// 2015), 6.
class RandomResizedCrop : public Transform {
 public:
  explicit RandomResizedCrop(const RandomResizedCropOptions& options);
  at::Tensor apply(const at::Tensor& image, Random& random) const override;
  std::optional<PixelSize> output_size(std::optional<PixelSize>) const override { return options_.size; }
  nlohmann::json describe() const override;

  /// The region drawn for an image of (height, width): ten tries, then the middle at the nearest allowed
  /// ratio.
  Region draw(int64_t height, int64_t width, Random& random) const;

 private:
  RandomResizedCropOptions options_;
};

}  // namespace fovea::data
