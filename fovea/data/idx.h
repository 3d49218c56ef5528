#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "fovea/data/dataset.h"

namespace fovea::data {

/// The whole of one IDX file: an array of bytes with its shape.
struct IdxArray {
  std::vector<int64_t> shape;
  std::string file;   ///< the file's bytes, decompressed
  size_t offset = 0;  ///< where the array starts in `file`
};

/// Reads an IDX file of unsigned bytes, plain or gzip. Format: two zero bytes, type 8, number of dimensions,
/// the dimensions as big-endian 32-bit numbers, the values.
/// Throws Error (data) naming the file and the fault: missing, truncated gzip, magic, dimensions, a size that
/// does not fit the dimensions (checked before anything is allocated by them).
/// Source: LeCun, Cortes, Burges: The MNIST database, "File formats".
IdxArray read_idx(const std::filesystem::path& path);

/// A set made of an image file (N, H, W) and a label file (N).
std::shared_ptr<const Dataset> open_idx(const std::filesystem::path& images,
                                        const std::filesystem::path& labels,
                                        const std::vector<std::string>& class_names);

/// train-images-idx3-ubyte[.gz] and its three companions in `folder` (or in the folders that torchvision
/// makes below it). val is null. `remedy` ends the error when a file is missing.
Splits open_mnist_folder(const std::filesystem::path& folder, const std::vector<std::string>& class_names,
                         const std::string& remedy);

}  // namespace fovea::data
