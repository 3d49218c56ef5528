#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "fovea/core/random.h"
#include "fovea/data/parameters.h"

namespace fovea::data {

/// Something done to an image. Immutable, so that many threads share one.
class Transform {
 public:
  virtual ~Transform() = default;

  /// image: uint8 (C, H, W), C = 1 or 3 -> uint8 (C', H', W'). Never writes into `image`; may return it or a
  /// view. All its chance comes from `random`.
  virtual at::Tensor apply(const at::Tensor& image, Random& random) const = 0;

  /// The number of channels of what apply() makes of an image with `channels`.
  virtual int64_t output_channels(int64_t channels) const { return channels; }

  /// The size of what apply() makes of an image of size `image`; empty = not known, as images differ.
  virtual std::optional<PixelSize> output_size(std::optional<PixelSize> image) const { return image; }

  /// The same transform as make_transform takes it: {"name": {option: value, ...}}, all options resolved.
  virtual nlohmann::json describe() const = 0;
};

using TransformPtr = std::unique_ptr<Transform>;

/// Its parts one after another; describe() gives their list. Source: torchvision.transforms.Compose.
class Compose : public Transform {
 public:
  explicit Compose(std::vector<TransformPtr> parts);
  at::Tensor apply(const at::Tensor& image, Random& random) const override;
  int64_t output_channels(int64_t channels) const override;
  std::optional<PixelSize> output_size(std::optional<PixelSize> image) const override;
  nlohmann::json describe() const override;

 private:
  std::vector<TransformPtr> parts_;
};

/// Builds transforms by torchvision's names in snake case, each a string or {name: {option: value}}, e.g.
/// ["random_horizontal_flip", {"random_crop": {"size": 28, "padding": 2}}]. One transform or a list of them;
/// the empty list changes nothing. Errors: usage for an unknown name or option (with the nearest), or a
/// value out of range.
TransformPtr make_transform(const nlohmann::json& list);

/// Every name that make_transform knows.
std::vector<std::string> transform_names();

/// Whether the list makes images of one size whatever comes in (a resize to a pair, a crop, ...).
bool has_output_size(const nlohmann::json& list);

/// What an image meets when a network is evaluated: Resize(size), CenterCrop(size).
TransformPtr evaluation_transform(int64_t size);

}  // namespace fovea::data
