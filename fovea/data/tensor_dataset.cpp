#include "fovea/data/tensor_dataset.h"

#include <fmt/format.h>

#include "fovea/core/error.h"

namespace fovea::data {

void check_index(int64_t index, int64_t size) {
  if (index >= 0 && index < size) return;
  throw usage_error("dataset", fmt::format("the index must be in [0, {}); found {}.", size, index));
}

TensorDataset::TensorDataset(at::Tensor images, std::vector<int64_t> labels,
                             std::vector<std::string> class_names, std::string name)
    : images_(std::move(images)),
      labels_(std::move(labels)),
      class_names_(std::move(class_names)),
      name_(std::move(name)) {
  if (images_.scalar_type() != at::kByte || images_.dim() != 4 || !images_.is_contiguous()) {
    throw usage_error("dataset",
                      fmt::format("{}: images must be one contiguous uint8 tensor (N, C, H, W).", name_));
  }
  if (images_.size(0) != size()) {
    throw data_error("dataset",
                     fmt::format("{}: there must be one label an image; found {} images, {} labels.", name_,
                                 images_.size(0), size()));
  }
  const auto classes = static_cast<int64_t>(class_names_.size());
  for (int64_t i = 0; i < size(); ++i) {
    if (labels_[i] >= 0 && labels_[i] < classes) continue;
    throw data_error("dataset", fmt::format("{}: labels must be in [0, {}); found {} at image {}.", name_,
                                            classes, labels_[i], i));
  }
}

Sample TensorDataset::get(int64_t index) const {
  check_index(index, size());
  return {images_.select(0, index), labels_[index]};
}

int64_t TensorDataset::label(int64_t index) const {
  check_index(index, size());
  return labels_[index];
}

std::array<int64_t, 3> TensorDataset::image_shape() const {
  return {images_.size(1), images_.size(2), images_.size(3)};
}

std::string TensorDataset::describe(int64_t index) const { return fmt::format("{}, image {}", name_, index); }

const uint8_t* TensorDataset::pixels(int64_t index) const {
  return images_.const_data_ptr<uint8_t>() + index * images_.stride(0);
}

}  // namespace fovea::data
