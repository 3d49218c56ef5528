#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "fovea/train/config.h"

namespace fovea::data {
class Loader;
}
namespace fovea::models {
class ImageNetwork;
}

namespace fovea::train {

class RunFolder;

/// One optimiser step, or the mean over a log interval of them.
struct StepReport {
  int64_t step = 0, total_steps = 0;
  /// The epoch that the step belongs to, from 1, of `epochs`.
  int64_t epoch = 0, epochs = 0;
  double loss = 0.0;
  /// Per cent of the training samples; with mixed targets against the larger part.
  double accuracy = 0.0;
  double lr = 0.0;
  /// Before clipping.
  double grad_norm = 0.0;
  double samples_per_second = 0.0;
  /// Estimate for the rest of the run, with its validations; the first is taken for a third of training as
  /// many batches.
  double seconds_left = 0.0;
};

/// The validation split after an epoch, and at the end.
struct ValidationReport {
  int64_t step = 0, epoch = 0;
  /// Per cent.
  double top1 = 0.0, top5 = 0.0;
  double loss = 0.0;
  bool best = false;
  int64_t classes = 0;
};

/// What a trainer tells while it runs; empty functions are skipped. Called from the thread of run().
struct TrainCallbacks {
  /// Every log_every steps.
  std::function<void(const StepReport&)> on_step;
  std::function<void(const ValidationReport&)> on_validation;
  /// One line that the user should read: resumed from where, damaged checkpoints, changed keys.
  std::function<void(const std::string&)> on_note;
};

struct TrainResult {
  int64_t step = 0, epochs = 0;
  /// The stop flag ended the run before its time; a checkpoint was written.
  bool stopped = false;
  /// Wall time of training and validation, over all parts of a resumed run.
  double seconds = 0.0;
  /// Per cent on the validation split; negative without one.
  double best_top1 = -1.0;
  /// Names in the run folder; the weights to use are `best`'s, or `last`'s without a validation split.
  std::string last, best;
};

/// What is trained, on what, how, and where to.
struct TrainerParts {
  std::shared_ptr<models::ImageNetwork> model;
  std::shared_ptr<data::Loader> train;
  /// May be null: then there is no best checkpoint.
  std::shared_ptr<data::Loader> val;
  TrainConfig config;
  /// config.json: `config` and whatever is needed to build and feed the network again.
  nlohmann::json run_config;
};

/// Trains an image classifier.   loss = cross entropy with label smoothing, against labels or mixed targets
/// A step is `accumulate` batches of the loader; an epoch ends with validation and a checkpoint. Continues
/// from the newest sound checkpoint of the folder, such that parameters, optimiser state and the loss of
/// every later step equal those of the uninterrupted run bit for bit at the same number of threads.
class Trainer {
 public:
  Trainer(TrainerParts parts, RunFolder& folder, TrainCallbacks callbacks = {});
  ~Trainer();

  /// Trains to the end or until `*stop` is true: then the step is finished and saved. Throws fovea::Error
  /// (numeric) on a loss, input or gradient that is not finite, naming the step, the layer and the last good
  /// checkpoint; (model_file) when a checkpoint does not fit the network; (usage) when the configuration of a
  /// resumed run changed.
  TrainResult run(const std::atomic<bool>* stop = nullptr);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fovea::train
