#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "fovea/train/checkpoint.h"
#include "fovea/train/train_step.h"

namespace fovea::train {

/// What a run knows besides tensors: where it is, and sums that are not yet logged.
struct RunProgress {
  int64_t step = 0;
  double seconds = 0.0;
  double best_top1 = -1.0;
  /// Name of the best checkpoint; empty when there is none.
  std::string best;
  /// Sums over the steps since the last line of the log.
  double interval_loss = 0.0, interval_norm = 0.0;
  int64_t interval_correct = 0, interval_samples = 0, interval_steps = 0;
};

/// Everything that the rest of the run depends on. model.safetensors gets the weights to use: with EMA the
/// averages, the training weights then go into the state as weights.NAME. The state also has optimizer.*,
/// ema.updates and random.cpu (the CPU generator).
Checkpoint pack_run(const models::ImageNetwork& model, TrainStep& step, const RunProgress& progress,
                    const nlohmann::json& config);

/// The inverse of pack_run. Throws fovea::Error (model_file) when the checkpoint does not fit the network,
/// naming keys.
RunProgress unpack_run(const Checkpoint& checkpoint, models::ImageNetwork& model, TrainStep& step);

}  // namespace fovea::train
