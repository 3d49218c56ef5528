#include "fovea/data/open.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/data/cifar.h"
#include "fovea/data/class_names.h"
#include "fovea/data/colour_transforms.h"
#include "fovea/data/folder.h"
#include "fovea/data/idx.h"
#include "fovea/data/subset.h"

namespace fovea::data {
namespace {

constexpr const char* kFashionMnistFolder = "/usr/share/datasets/fashion-mnist";

// A row of the registry: `open` is given the path after the colon, empty when there is none.
struct Opener {
  DataEntry entry;
  bool needs_path = true;
  Splits (*open)(const std::string& path, int64_t channels) = nullptr;
};

Splits open_fashion_mnist(const std::string& path, int64_t) {
  const bool packaged = path.empty();
  const std::string remedy =
      packaged ? "Install the Debian package dataset-fashion-mnist, or give the files' folder "
                 "as fashion_mnist:PATH."
               : "Give the folder of the four files as fashion_mnist:PATH.";
  return open_mnist_folder(packaged ? kFashionMnistFolder : path, fashion_mnist_classes(), remedy);
}

Splits open_mnist(const std::string& path, int64_t) {
  return open_mnist_folder(path, mnist_classes(), "Give the folder of the four files as mnist:PATH.");
}

const std::vector<Opener>& openers() {
  static const std::vector<Opener> all = {
      {{"fashion_mnist",
        "70,000 garments in 10 classes, grey 28 x 28; without a path the Debian package "
        "dataset-fashion-mnist",
        kFashionMnistFolder},
       false,
       open_fashion_mnist},
      {{"mnist", "70,000 digits, grey 28 x 28; the path is the folder of the four IDX files"},
       true,
       open_mnist},
      {{"cifar10",
        "60,000 photographs in 10 classes, colour 32 x 32; the path is the folder of the binary version"},
       true,
       [](const std::string& path, int64_t) { return open_cifar10(path); }},
      {{"cifar100",
        "60,000 photographs in 100 classes, colour 32 x 32; the path is the folder of the binary version"},
       true,
       [](const std::string& path, int64_t) { return open_cifar100(path); }},
      {{"cifar100_coarse", "CIFAR-100 with its 20 superclasses as classes"},
       true,
       [](const std::string& path, int64_t) { return open_cifar100(path, CifarLabels::coarse); }},
      {{"folder",
        "JPEG and PNG images, one folder a class, or such folders in train, val and test; the path is the "
        "folder"},
       true,
       [](const std::string& path, int64_t channels) {
         return open_folder(path, channels == 0 ? 3 : channels);
       }},
  };
  return all;
}

const Opener& find_opener(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& opener : openers()) {
    if (opener.entry.name == name) return opener;
    names.push_back(opener.entry.name);
  }
  throw usage_error(
      "data", fmt::format("'{}' is no known data set. {}", name,
                          suggest_name(name, names, fmt::format("Known are {}.", fmt::join(names, ", ")))));
}

void check(const DataOptions& options) {
  const auto require = [](bool right, const char* rule, const std::string& found) {
    if (!right) throw usage_error("data", rule, found, "Change it.");
  };
  require(options.val_fraction >= 0 && options.val_fraction < 1, "val_fraction must be in [0, 1)",
          fmt::format("{}", options.val_fraction));
  require(options.limit >= 0, "limit must not be negative", fmt::format("{}", options.limit));
  require(options.img_size >= 0 && options.img_size <= 65536, "img_size must be in [0, 65536]",
          fmt::format("{}", options.img_size));
  require(options.channels == 0 || options.channels == 1 || options.channels == 3,
          "channels must be 0, 1 or 3", fmt::format("{}", options.channels));
}

Splits open_named(const std::string& name, int64_t channels) {
  const size_t colon = name.find(':');
  const Opener& opener = find_opener(name.substr(0, colon));
  const std::string path = colon == std::string::npos ? "" : name.substr(colon + 1);
  if (path.empty() && (opener.needs_path || colon != std::string::npos)) {
    throw usage_error("data",
                      fmt::format("'{}' wants a path; found none. Write {}:PATH.", name, opener.entry.name));
  }
  return opener.open(path, channels);
}

void take_validation(Splits& splits, const DataOptions& options) {
  if (splits.val || options.val_fraction == 0) return;
  const auto n = std::llround(options.val_fraction * static_cast<double>(splits.train->size()));
  if (n == 0 || n == splits.train->size()) {
    throw data_error("data",
                     fmt::format("{}: val_fraction {} of {} training images leaves one part empty. Give more "
                                 "images, a val folder, or another val_fraction.",
                                 options.name, options.val_fraction, splits.train->size()));
  }
  Division division = choose_stratified(*splits.train, n, options.split_seed);
  splits.val = std::make_shared<Subset>(splits.train, std::move(division.chosen));
  splits.train = std::make_shared<Subset>(splits.train, std::move(division.rest));
}

// The set with the channels and size asked for; itself when it has them.
std::shared_ptr<const Dataset> reshaped(const std::shared_ptr<const Dataset>& set, int64_t channels,
                                        int64_t size) {
  if (!set) return set;
  auto shape = set->image_shape();
  std::vector<TransformPtr> parts;
  if (channels != 0 && channels != shape[0]) {
    parts.push_back(channels == 1 ? TransformPtr(std::make_unique<Grayscale>(1)) : std::make_unique<ToRgb>());
    shape[0] = channels;
  }
  if (size != 0 && (shape[1] != size || shape[2] != size)) {
    parts.push_back(evaluation_transform(size));
    shape[1] = shape[2] = size;
  }
  if (parts.empty()) return set;
  return std::make_shared<TransformedDataset>(set, std::make_shared<Compose>(std::move(parts)), shape);
}

}  // namespace

const std::vector<DataEntry>& data_entries() {
  static const std::vector<DataEntry> entries = [] {
    std::vector<DataEntry> all;
    for (const auto& opener : openers()) all.push_back(opener.entry);
    return all;
  }();
  return entries;
}

std::string with_absolute_path(const std::string& name) {
  const size_t colon = name.find(':');
  if (colon == std::string::npos || colon + 1 == name.size()) return name;
  std::error_code fault;
  const auto path = std::filesystem::weakly_canonical(name.substr(colon + 1), fault);
  return fault ? name : name.substr(0, colon + 1) + path.string();
}

Splits open_data(const DataOptions& options) {
  check(options);
  Splits splits = open_named(options.name, options.channels);
  take_validation(splits, options);
  if (options.limit > 0 && options.limit < splits.train->size()) {
    // Another seed than the division's, or the kept images would be those that the division ranks next.
    Division division = choose_stratified(*splits.train, options.limit, options.split_seed + 1);
    splits.train = std::make_shared<Subset>(splits.train, std::move(division.chosen));
  }
  splits.train = reshaped(splits.train, options.channels, options.resize_train ? options.img_size : 0);
  splits.val = reshaped(splits.val, options.channels, options.img_size);
  splits.test = reshaped(splits.test, options.channels, options.img_size);
  return splits;
}

}  // namespace fovea::data
