#pragma once
#include <string>
#include <vector>

#include "fovea/data/dataset.h"

namespace fovea::data {

/// A set that is one tensor in memory: reading an image costs a view.
class TensorDataset : public Dataset {
 public:
  /// images: uint8 (N, C, H, W), contiguous; labels: N numbers in [0, class_names.size()); name: for
  /// messages. Throws Error (data) when the counts differ or a label is out of range, Error (usage) for
  /// another type or shape.
  TensorDataset(at::Tensor images, std::vector<int64_t> labels, std::vector<std::string> class_names,
                std::string name);

  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  Sample get(int64_t index) const override;
  int64_t label(int64_t index) const override;
  const std::vector<std::string>& class_names() const override { return class_names_; }
  std::array<int64_t, 3> image_shape() const override;
  std::string describe(int64_t index) const override;
  const uint8_t* pixels(int64_t index) const override;

 private:
  at::Tensor images_;
  std::vector<int64_t> labels_;
  std::vector<std::string> class_names_;
  std::string name_;
};

/// Throws Error (usage) unless 0 <= index < size.
void check_index(int64_t index, int64_t size);

}  // namespace fovea::data
