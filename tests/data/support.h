#pragma once
#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "fovea/core/random.h"
#include "fovea/data/planes.h"
#include "fovea/data/tensor_dataset.h"
#include "tests/io/scratch.h"

namespace fovea::data {

/// A folder of the test's own, with files in folders.
class TestFolder : public io::ScratchFolder {
 public:
  /// Writes a file, with the folders above it, and gives its path.
  std::filesystem::path write(const std::string& name, const std::string& bytes) const {
    const auto file = path() / name;
    std::filesystem::create_directories(file.parent_path());
    io::spill(file, bytes);
    return file;
  }
};

/// An image of random bytes.
inline at::Tensor noise(int64_t channels, int64_t height, int64_t width, uint64_t seed = 1) {
  at::Tensor image = new_image(channels, height, width);
  Random random(seed);
  auto* out = image.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < image.numel(); ++i) out[i] = static_cast<uint8_t>(random());
  return image;
}

/// n random images of one shape in memory, image i of class i % classes.
inline std::shared_ptr<TensorDataset> noise_dataset(int64_t n, std::array<int64_t, 3> shape,
                                                    int64_t classes) {
  at::Tensor images = noise(1, n * shape[0], shape[1] * shape[2]).view({n, shape[0], shape[1], shape[2]});
  std::vector<int64_t> labels;
  std::vector<std::string> names;
  for (int64_t i = 0; i < n; ++i) labels.push_back(i % classes);
  for (int64_t c = 0; c < classes; ++c) names.push_back("class " + std::to_string(c));
  return std::make_shared<TensorDataset>(images, labels, names, "noise");
}

/// The bytes of a uint8 tensor.
inline std::vector<uint8_t> bytes_of(const at::Tensor& image) {
  const at::Tensor whole = image.contiguous();
  return {whole.const_data_ptr<uint8_t>(), whole.const_data_ptr<uint8_t>() + whole.numel()};
}

}  // namespace fovea::data
