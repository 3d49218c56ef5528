#include "fovea/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace fovea::train {

Schedule::Schedule(const TrainConfig& config, int64_t total_steps, int64_t steps_per_epoch)
    : config_(config), total_(total_steps), per_epoch_(steps_per_epoch), warmup_(config.warmup_steps) {
  if (warmup_ == 0) warmup_ = std::llround(config.warmup_fraction * static_cast<double>(total_steps));
}

double Schedule::lr(int64_t step) const {
  const double high = config_.lr, low = config_.min_lr;
  if (step < warmup_) return high * static_cast<double>(step + 1) / static_cast<double>(warmup_);
  const double done = static_cast<double>(step - warmup_);
  const double epochs = done / static_cast<double>(per_epoch_);
  if (config_.schedule == "cosine") {
    // A resumed run may be asked for fewer steps than it has done: stay at the end of the curve.
    const double part = std::min(1.0, done / static_cast<double>(std::max<int64_t>(1, total_ - warmup_)));
    return low + (high - low) * (1.0 + std::cos(std::numbers::pi * part)) / 2.0;
  }
  if (config_.schedule == "step") {
    return std::max(
        low, high * std::pow(config_.gamma, std::floor(epochs / static_cast<double>(config_.step_size))));
  }
  if (config_.schedule == "exponential") return std::max(low, high * std::pow(config_.gamma, epochs));
  return high;
}

}  // namespace fovea::train
