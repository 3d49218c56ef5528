#pragma once
#include "fovea/data/parameters.h"
#include "fovea/data/transform.h"

namespace fovea::data {

/// Ranges of the factors; [1, 1] (hue: [0, 0]) leaves that property alone.
struct ColorJitterOptions {
  Range brightness{1, 1}, contrast{1, 1}, saturation{1, 1};
  Range hue{0, 0};  ///< within [-0.5, 0.5]
};

/// Changes brightness, contrast, saturation and hue by factors drawn uniformly, in random order.
/// Source: torchvision.transforms.ColorJitter.
class ColorJitter : public Transform {
 public:
  explicit ColorJitter(const ColorJitterOptions& options);
  at::Tensor apply(const at::Tensor& image, Random& random) const override;
  nlohmann::json describe() const override;

 private:
  ColorJitterOptions options_;
};

/// The grey image with 1 or 3 equal channels. Source: torchvision.transforms.Grayscale.
class Grayscale : public Transform {
 public:
  explicit Grayscale(int64_t num_output_channels = 1);
  at::Tensor apply(const at::Tensor& image, Random& random) const override;
  int64_t output_channels(int64_t) const override { return channels_; }
  nlohmann::json describe() const override;

 private:
  int64_t channels_;
};

/// Grey with probability p; the number of channels stays. Source: torchvision.transforms.RandomGrayscale.
class RandomGrayscale : public Transform {
 public:
  explicit RandomGrayscale(double p = 0.1);
  at::Tensor apply(const at::Tensor& image, Random& random) const override;
  nlohmann::json describe() const override;

 private:
  double p_;
};

/// Three channels: a grey image three times, a colour image as it is. Source: torchvision.transforms.v2.RGB.
class ToRgb : public Transform {
 public:
  at::Tensor apply(const at::Tensor& image, Random& random) const override;
  int64_t output_channels(int64_t) const override { return 3; }
  nlohmann::json describe() const override;
};

}  // namespace fovea::data
