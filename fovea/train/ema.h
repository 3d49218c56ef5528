#pragma once
#include <ATen/core/Tensor.h>

#include "fovea/io/tensors.h"

namespace torch::nn {
class Module;
}

namespace fovea::train {

/// Exponential moving average of weights and buffers.   a += (1 - d) (w - a),  d = min(decay, (1 + n) / (10 +
/// n)) after n updates, so that the first random weights are soon forgotten. Integer buffers are copied.
/// Sources: Polyak and Juditsky 1992; the ramp of d is TensorFlow's ExponentialMovingAverage(num_updates).
class Ema {
 public:
  /// Starts at the module's present values. `decay` in (0, 1).
  Ema(const torch::nn::Module& model, double decay);

  void update();

  /// The averages by the module's names. They are its own: copy them to keep them.
  const io::TensorMap& averages() const { return averages_; }

  int64_t updates() const { return updates_; }

  /// Throws fovea::Error (model_file) naming a tensor that is missing or of another shape.
  void load(const io::TensorMap& averages, int64_t updates);

  /// Exchanges averages and the module's values; twice gives the first state.
  void swap();

 private:
  double decay_;
  int64_t updates_ = 0;
  io::TensorMap sources_, averages_;
};

/// Gives the module its averages while it lives.
class EmaScope {
 public:
  explicit EmaScope(Ema* ema) : ema_(ema) {
    if (ema_ != nullptr) ema_->swap();
  }
  ~EmaScope() {
    if (ema_ != nullptr) ema_->swap();
  }
  EmaScope(const EmaScope&) = delete;
  EmaScope& operator=(const EmaScope&) = delete;

 private:
  Ema* ema_;
};

}  // namespace fovea::train
