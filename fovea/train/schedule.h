#pragma once
#include <cstdint>

#include "fovea/train/config.h"

namespace fovea::train {

/// Learning rate of each optimiser step: linear warm-up, then `schedule`. With t = step, w = warm-up steps,
/// T = all steps, e = (t - w) / steps an epoch, a = min_lr, b = lr:
///   t < w         b (t + 1) / w
///   cosine        a + (b - a) (1 + cos(pi (t - w) / (T - w))) / 2
///   step          max(a, b gamma^floor(e / step_size))
///   exponential   max(a, b gamma^e)
///   constant      b
/// Epochs of `step` and `exponential` are counted from the end of the warm-up. Source of the cosine:
/// Loshchilov and Hutter 2017, SGDR, 3; of the warm-up: Goyal et al. 2017, 2.2.
class Schedule {
 public:
  /// `total_steps` and `steps_per_epoch` >= 1.
  Schedule(const TrainConfig& config, int64_t total_steps, int64_t steps_per_epoch);

  /// Learning rate of step `step`, from 0.
  double lr(int64_t step) const;

  int64_t warmup_steps() const { return warmup_; }

 private:
  TrainConfig config_;
  int64_t total_, per_epoch_, warmup_;
};

}  // namespace fovea::train
