#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "fovea/data/dataset.h"

namespace fovea::data {

/// Which data to open and how to divide it.
struct DataOptions {
  /// NAME or NAME:PATH, for example `fashion_mnist`, `cifar10:/data/cifar`, `folder:photos`.
  std::string name;
  /// Share of the training images that becomes the validation part, in [0, 1); the same share of every
  /// class. Not used when the data bring their own validation part. 1/12 is 5,000 of MNIST's 60,000.
  double val_fraction = 1.0 / 12;
  /// Decides which images are for validation and, with `limit`, which are kept. Nothing else depends on it.
  uint64_t split_seed = 0;
  /// Keep only so many training images, the same share of every class; 0 = all.
  int64_t limit = 0;
  /// Side in pixels: the shorter edge is resized to it and the centre is cut out; 0 = as they are.
  int64_t img_size = 0;
  /// With `img_size`: whether training images are resized too. False when the augmentations bring their own
  /// size (has_output_size in transform.h).
  bool resize_train = true;
  /// 1 = grey, 3 = colour, 0 = as the data are (folders: colour).
  int64_t channels = 0;
};

/// A data set that open_data knows.
struct DataEntry {
  std::string name;               ///< what stands before the colon
  std::string description;        ///< one sentence, with the path it wants
  std::string default_path = {};  ///< where it is looked for without a path; empty: the path must be given
};

/// Every known data set, in the order in which they are listed.
const std::vector<DataEntry>& data_entries();

/// NAME:PATH with the path made absolute and free of links, so that it means the same from any working
/// directory; NAME alone as it is.
std::string with_absolute_path(const std::string& name);

/// Opens a data set and divides it; the test part is never touched by the division.
/// Errors: usage for an unknown name (with the nearest) or option, data for missing or damaged files.
Splits open_data(const DataOptions& options);

}  // namespace fovea::data
