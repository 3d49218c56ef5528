#pragma once
#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "fovea/core/random.h"
#include "fovea/data/loader.h"
#include "fovea/data/planes.h"

namespace fovea::data {

/// Where a batch stands: batch `batch` of epoch `epoch`.
struct BatchPosition {
  int64_t epoch = 0, batch = 0;
};

/// Makes any batch of any epoch as a pure function of (options.seed, epoch, batch). Thread-safe.
class BatchMaker {
 public:
  /// Throws Error (usage) for options that do not fit the set, (data) for an empty one.
  BatchMaker(std::shared_ptr<const Dataset> dataset, LoaderOptions options);

  int64_t batches_per_epoch() const { return batches_; }

  /// The batch at `position`. `cancelled` is asked before each image; when it says yes the result is an empty
  /// Batch, that nobody may use.
  Batch make(BatchPosition position, const std::function<bool()>& cancelled) const;

 private:
  using Order = std::shared_ptr<const std::vector<int64_t>>;

  Order order(int64_t epoch) const;
  Random random(int64_t epoch, uint32_t purpose, uint64_t index) const;
  std::vector<int64_t> samples_of(BatchPosition position) const;
  Planes read(int64_t sample, int64_t epoch) const;
  void normalise(const Planes& image, float* out) const;

  std::shared_ptr<const Dataset> dataset_;
  LoaderOptions options_;
  uint64_t key_;
  int64_t batches_, channels_;
  std::vector<std::array<float, 256>> normalised_;  // per channel: what a pixel value becomes

  mutable std::mutex order_mutex_;
  mutable std::array<std::pair<int64_t, Order>, 2> orders_;  // of the epochs used last, by epoch % 2
};

}  // namespace fovea::data
