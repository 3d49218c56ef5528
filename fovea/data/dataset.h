#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace fovea::data {

/// One labelled image.
struct Sample {
  at::Tensor image;   ///< uint8 (C, H, W), C = 1 or 3; to be read only: it may share memory with the set
  int64_t label = 0;  ///< in [0, class_names().size())
};

/// A set of labelled images that can be read in any order, from many threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual int64_t size() const = 0;

  /// Image and label number `index` in [0, size()). Thread-safe. Throws Error (data) naming the file when it
  /// cannot be read.
  virtual Sample get(int64_t index) const = 0;

  /// The label alone, without decoding the image.
  virtual int64_t label(int64_t index) const = 0;

  /// Names by label.
  virtual const std::vector<std::string>& class_names() const = 0;

  /// (C, H, W) of every image; H = W = 0 when images differ in size.
  virtual std::array<int64_t, 3> image_shape() const = 0;

  /// Where image `index` comes from, for messages: a file name, or the set's name and the index.
  virtual std::string describe(int64_t index) const = 0;

  /// The C*H*W bytes of image `index` when the set keeps them in memory, else null. Lives as long as the set.
  virtual const uint8_t* pixels(int64_t index) const {
    static_cast<void>(index);
    return nullptr;
  }
};

/// The parts of a data set. `train` is never null; `val` and `test` may be.
struct Splits {
  std::shared_ptr<const Dataset> train, val, test;
};

}  // namespace fovea::data
