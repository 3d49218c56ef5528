#include "fovea/data/idx.h"

#include <ATen/ops/from_blob.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <optional>

#include "fovea/core/error.h"
#include "fovea/data/tensor_dataset.h"
#include "fovea/io/gzip.h"

namespace fovea::data {
namespace {

namespace fs = std::filesystem;

// Far above any published set of this format (EMNIST's largest file has 550 MB), far below a gzip bomb.
constexpr size_t kLargestIdx = size_t{2} << 30;
constexpr uint8_t kUnsignedByte = 8;

Error fault(const fs::path& path, const std::string& what) {
  return data_error("idx", fmt::format("{}: {}", path.string(), what));
}

int64_t big_endian_32(const std::string& file, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(file[at + i]);
  return value;
}

// The array's size, or nothing when it exceeds `limit`: no product of 32-bit numbers may overflow.
std::optional<size_t> product_within(const std::vector<int64_t>& shape, size_t limit) {
  size_t product = 1;
  for (const int64_t extent : shape) {
    if (extent != 0 && product > limit / static_cast<size_t>(extent)) return std::nullopt;
    product *= static_cast<size_t>(extent);
  }
  return product;
}

// The file of this name in the folder, plain or compressed; empty when there is none.
fs::path find_file(const fs::path& folder, const std::string& name) {
  std::string dotted = name;  // some mirrors write train-images.idx3-ubyte
  dotted[name.find("-idx")] = '.';
  for (const auto& stem : {name, dotted}) {
    for (const char* end : {"", ".gz"}) {
      std::error_code ignored;
      fs::path path = folder / (stem + end);
      if (fs::is_regular_file(path, ignored)) return path;
    }
  }
  return {};
}

fs::path find_folder(const fs::path& folder) {
  for (const char* below : {"", "raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw"}) {
    const fs::path candidate = *below ? folder / below : folder;
    if (!find_file(candidate, "train-images-idx3-ubyte").empty()) return candidate;
  }
  return folder;
}

}  // namespace

IdxArray read_idx(const fs::path& path) {
  IdxArray array;
  array.file = io::read_maybe_gzip(path, kLargestIdx);
  const std::string& file = array.file;
  if (file.size() < 4)
    throw fault(path, fmt::format("an IDX file has a header; found {} bytes.", file.size()));
  const auto type = static_cast<uint8_t>(file[2]);
  const auto dimensions = static_cast<uint8_t>(file[3]);
  if (file[0] != 0 || file[1] != 0) {
    throw fault(path, fmt::format("an IDX file starts with two zero bytes; found {:#04x} {:#04x}.",
                                  static_cast<uint8_t>(file[0]), static_cast<uint8_t>(file[1])));
  }
  if (type != kUnsignedByte) {
    throw fault(path, fmt::format("only unsigned bytes (type 8) are read; found type {}.", type));
  }
  array.offset = 4 + size_t{4} * dimensions;
  if (dimensions == 0 || file.size() < array.offset) {
    throw fault(path,
                fmt::format("the header promises {} dimensions; found {} bytes.", dimensions, file.size()));
  }
  for (size_t i = 0; i < dimensions; ++i) array.shape.push_back(big_endian_32(file, 4 + 4 * i));
  const size_t found = file.size() - array.offset;
  if (product_within(array.shape, kLargestIdx) != found) {
    throw fault(
        path,
        fmt::format("the header promises an array of {}; found {} bytes. The file is damaged, get it again.",
                    fmt::join(array.shape, " x "), found));
  }
  return array;
}

std::shared_ptr<const Dataset> open_idx(const fs::path& images, const fs::path& labels,
                                        const std::vector<std::string>& class_names) {
  auto pixels = std::make_shared<IdxArray>(read_idx(images));
  const IdxArray classes = read_idx(labels);
  const auto& shape = pixels->shape;
  if (shape.size() != 3 || shape[0] == 0 || shape[1] == 0 || shape[2] == 0) {
    throw fault(images, fmt::format("images must have shape N x H x W, none of them 0; found {}.",
                                    fmt::join(shape, " x ")));
  }
  if (classes.shape.size() != 1) {
    throw fault(labels,
                fmt::format("labels must have one dimension; found {}.", fmt::join(classes.shape, " x ")));
  }
  if (classes.shape[0] != shape[0]) {
    throw fault(labels, fmt::format("there must be one label an image; found {} labels, and {} images in {}.",
                                    classes.shape[0], shape[0], images.string()));
  }
  std::vector<int64_t> values;
  for (size_t i = classes.offset; i < classes.file.size(); ++i) {
    values.push_back(static_cast<uint8_t>(classes.file[i]));
    if (values.back() < static_cast<int64_t>(class_names.size())) continue;
    throw fault(labels, fmt::format("labels must be in [0, {}); found {} at position {}.", class_names.size(),
                                    values.back(), i - classes.offset));
  }
  // The tensor is the file's own memory, kept alive by the deleter.
  auto tensor = at::from_blob(
      pixels->file.data() + pixels->offset, {shape[0], 1, shape[1], shape[2]}, [pixels](void*) {},
      at::TensorOptions(at::kByte));
  return std::make_shared<TensorDataset>(tensor, std::move(values), class_names, images.string());
}

Splits open_mnist_folder(const fs::path& folder, const std::vector<std::string>& class_names,
                         const std::string& remedy) {
  const fs::path found = find_folder(folder);
  const auto open = [&](const std::string& part) {
    std::array<fs::path, 2> paths;
    const std::array<std::string, 2> names = {part + "-images-idx3-ubyte", part + "-labels-idx1-ubyte"};
    for (size_t i = 0; i < 2; ++i) {
      paths[i] = find_file(found, names[i]);
      if (!paths[i].empty()) continue;
      throw data_error("data", fmt::format("{} must hold {} or {}.gz; found neither. {}", found.string(),
                                           names[i], names[i], remedy));
    }
    return open_idx(paths[0], paths[1], class_names);
  };
  Splits splits;
  splits.train = open("train");
  splits.test = open("t10k");
  return splits;
}

}  // namespace fovea::data
