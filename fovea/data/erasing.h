#pragma once
#include <vector>

#include "fovea/data/geometry.h"
#include "fovea/data/parameters.h"
#include "fovea/data/transform.h"

namespace fovea::data {

struct RandomErasingOptions {
  double p = 0.5;                ///< how often
  Range scale{0.02, 0.33};       ///< of the erased area, as a share of the image's
  Range ratio{0.3, 3.3};         ///< of its height to its width, uniform in the logarithm
  std::vector<double> value{0};  ///< pixel value in [0, 255], one or one a channel; empty = random bytes
};

/// Overwrites a random rectangle. Works on 8-bit pixels, before normalisation: to erase with what normalises
/// to 0, give the mean times 255 as value. Defaults and drawing are torchvision.transforms.RandomErasing's.
/// Source: Random erasing data augmentation (Zhong et al. 2017), algorithm 1.
class RandomErasing : public Transform {
 public:
  explicit RandomErasing(const RandomErasingOptions& options);
  at::Tensor apply(const at::Tensor& image, Random& random) const override;
  nlohmann::json describe() const override;

  /// The rectangle drawn for an image of (height, width); height 0 when ten tries found none that fits.
  Region draw(int64_t height, int64_t width, Random& random) const;

 private:
  RandomErasingOptions options_;
};

}  // namespace fovea::data
