#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "fovea/data/dataset.h"
#include "fovea/data/transform.h"

namespace fovea::data {

/// How a Loader makes batches.
struct LoaderOptions {
  int64_t batch_size = 128;
  uint64_t seed = 0;
  bool shuffle = true;
  bool drop_last = false;                      ///< leave out an epoch's last batch when it is not full
  int workers = 1;                             ///< background threads; 0 = work inside next()
  int prefetch = 4;                            ///< batches kept ready, at least one a worker
  std::shared_ptr<const Transform> transform;  ///< null = none
  std::vector<double> mean, std;               ///< per channel, of values in [0, 1]; empty = 0 and 1
  double mixup_alpha = 0;  ///< 0 = none; with cutmix_alpha too, a fair coin decides per batch
  double cutmix_alpha = 0;
  int64_t num_classes = 0;  ///< width of mixed targets; 0 = the set's number of classes
};

/// What the network is given in one step.
struct Batch {
  at::Tensor images;             ///< float32 (B, C, H, W), (x / 255 - mean) / std
  at::Tensor labels;             ///< int64 (B)
  at::Tensor targets;            ///< float32 (B, num_classes), rows sum to 1, when mixed; else undefined
  int64_t epoch = 0, index = 0;  ///< of this batch, from 0
  std::vector<int64_t> samples;  ///< the images' indices in the set
};

/// How well the loader keeps up.
struct LoaderStats {
  int64_t batches = 0;         ///< given to the consumer
  double seconds_waited = 0;   ///< that next() took, all told
  double seconds_working = 0;  ///< that making the batches took, in all threads
};

/// Makes batches in background threads, ahead of the consumer and in order.
///
/// A batch is a pure function of (seed, epoch, index): the order of an epoch is a permutation drawn from
/// (seed, epoch), a sample's augmentation is drawn from (seed, epoch, sample). So neither the number of
/// workers nor what was read before matters, and seek() is free.
/// One consumer at a time. An error while making a batch is thrown by the next() that would have returned it;
/// the batch after it is then next. Errors: usage for wrong options, data for an image that cannot be read or
/// whose size differs from its batch's.
class Loader {
 public:
  Loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int64_t batches_per_epoch() const;

  /// The next next() gives batch `batch` of epoch `epoch`, both from 0; batch = batches_per_epoch() is the
  /// end of that epoch.
  void seek(int64_t epoch, int64_t batch);

  /// The next batch; nullopt once at the end of each epoch, after which the following epoch begins.
  std::optional<Batch> next();

  LoaderStats stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fovea::data
