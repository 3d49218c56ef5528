#pragma once
// Data sets as files, small enough to be written for one test.
#include <cstdint>
#include <string>
#include <vector>

#include "fovea/data/dataset.h"
#include "fovea/data/image_tensor.h"
#include "fovea/io/image.h"
#include "tests/data/support.h"
#include "tests/io/gzip_bytes.h"

namespace fovea::data {

/// Four bytes, the highest first.
inline std::string big_endian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

/// An IDX file whose header says `shape` and which holds `count` bytes 0, 1, 2, ... modulo `modulo`.
inline std::string idx_file(const std::vector<uint32_t>& shape, size_t count, int modulo = 251) {
  std::string file = {0, 0, 8, static_cast<char>(shape.size())};
  for (const uint32_t extent : shape) file += big_endian(extent);
  for (size_t i = 0; i < count; ++i) file += static_cast<char>(i % modulo);
  return file;
}

/// 120 training and 20 test images of 5 x 4 pixels in 10 classes, the training files compressed.
inline void write_small_mnist(const TestFolder& folder) {
  folder.write("train-images-idx3-ubyte.gz", io::gzip(idx_file({120, 5, 4}, 2400)));
  folder.write("train-labels-idx1-ubyte.gz", io::gzip(idx_file({120}, 120, 10)));
  folder.write("t10k-images-idx3-ubyte", idx_file({20, 5, 4}, 400));
  folder.write("t10k-labels-idx1-ubyte", idx_file({20}, 20, 10));
}

/// A PNG file of random pixels.
inline std::string png(int64_t channels, int64_t height, int64_t width, uint64_t seed = 1) {
  return io::encode_png(tensor_to_image(noise(channels, height, width, seed)));
}

/// Images of each class.
inline std::vector<int64_t> class_counts(const Dataset& set) {
  std::vector<int64_t> counts(set.class_names().size());
  for (int64_t i = 0; i < set.size(); ++i) ++counts[set.label(i)];
  return counts;
}

}  // namespace fovea::data
