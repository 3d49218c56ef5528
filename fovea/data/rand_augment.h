#pragma once
#include <string>
#include <vector>

#include "fovea/data/parameters.h"
#include "fovea/data/transform.h"

namespace fovea::data {

struct RandAugmentOptions {
  int64_t num_ops = 2;    ///< operations in a row
  int64_t magnitude = 9;  ///< of all operations, in [0, num_magnitude_bins)
  int64_t num_magnitude_bins = 31;
  std::vector<double> fill;  ///< of what falls in from outside: one value or one a channel; empty = 0
};

/// `num_ops` operations drawn from 14, each at the magnitude given, with random sign where that has a
/// meaning. The operations and their magnitudes are torchvision.transforms.RandAugment's (nearest pixel).
/// Source: RandAugment (Cubuk et al. 2019).
class RandAugment : public Transform {
 public:
  explicit RandAugment(const RandAugmentOptions& options);
  at::Tensor apply(const at::Tensor& image, Random& random) const override;
  nlohmann::json describe() const override;

  /// Names of the operations, torchvision's.
  static std::vector<std::string> operations();

  /// How strongly an operation is done at this magnitude, for an image of this size; 0 for those without a
  /// strength.
  double strength(const std::string& operation, PixelSize size) const;

 private:
  RandAugmentOptions options_;
};

/// One operation of RandAugment at a given strength (signed). Throws Error (usage) for an unknown name.
at::Tensor apply_operation(const at::Tensor& image, const std::string& operation, double strength,
                           const std::vector<double>& fill = {});

}  // namespace fovea::data
