#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "fovea/data/loader.h"
#include "fovea/train/config.h"
#include "fovea/train/ema.h"
#include "fovea/train/optimizer.h"

namespace fovea::models {
class ImageNetwork;
}

namespace fovea::train {

/// What one optimiser step saw.
struct StepOutcome {
  /// Mean over the samples.
  double loss = 0.0;
  /// Samples whose largest logit is their label, or the larger part of their mixed target.
  int64_t correct = 0, samples = 0;
  /// Before clipping.
  double grad_norm = 0.0;
};

/// One optimiser step: forward and backward of one or several batches, clipping, update, EMA.
///   loss = sum over batches of (n_b / n) (cross_entropy(model(images_b), targets_b, label_smoothing) + p_b)
/// with p_b what the network's modules owe (nn/penalty.h),
/// so that N batches of one step give the gradient of one batch with all their samples (apart from batch
/// norm's statistics).
class TrainStep {
 public:
  /// Puts the network into the memory layout and checkpointing mode of the configuration.
  TrainStep(models::ImageNetwork& model, const TrainConfig& config);

  /// Throws fovea::Error (numeric), before any parameter changes, when input, loss or a gradient is not
  /// finite; the message names where, `step` counts from 1 in it.
  StepOutcome run(const std::vector<data::Batch>& batches, double lr, int64_t step);

  Optimizer& optimizer() { return optimizer_; }
  /// Null without EMA.
  Ema* ema() { return ema_.get(); }

 private:
  void backward(const data::Batch& batch, int64_t samples, int64_t step, StepOutcome& outcome);

  models::ImageNetwork& model_;
  TrainConfig config_;
  Optimizer optimizer_;
  std::unique_ptr<Ema> ema_;
};

}  // namespace fovea::train
