#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace fovea::train {

/// How a network is trained: the flat keys of a configuration. Every member is a key of the same name, and
/// its initial value is the default. `config_keys()` gives ranges and meanings.
struct TrainConfig {
  int64_t epochs = 10;
  int64_t max_steps = 0;
  int64_t batch_size = 128;
  int64_t accumulate = 1;

  std::string optimizer = "adamw";
  double lr = 1e-3;
  double momentum = 0.9;
  bool nesterov = false;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double weight_decay = 0.0;
  double l1 = 0.0;
  double l2 = 0.0;
  double clip_norm = 0.0;

  std::string schedule = "cosine";
  int64_t warmup_steps = 0;
  double warmup_fraction = 0.0;
  int64_t step_size = 30;
  double gamma = 0.1;
  double min_lr = 0.0;

  double ema_decay = 0.0;
  double label_smoothing = 0.0;
  std::string amp = "none";
  bool channels_last = false;
  bool activation_checkpointing = false;

  int64_t checkpoint_every = 0;
  int64_t keep_checkpoints = 3;
  int64_t log_every = 1;
  int64_t seed = 0;
  int64_t threads = 0;
};

/// A key of TrainConfig, for help texts and checks.
struct ConfigKey {
  std::string name;
  /// "integer", "number", "true|false", or the allowed words separated by |.
  std::string type;
  std::string meaning;
};

/// The keys of TrainConfig in the order of its members.
const std::vector<ConfigKey>& config_keys();

/// Reads an object of flat keys over the defaults. Throws fovea::Error (usage) on an unknown key (naming the
/// nearest), a wrong type, a value out of range, or keys that contradict each other.
TrainConfig config_from_json(const nlohmann::json& object);

/// Every key with its value.
nlohmann::json config_to_json(const TrainConfig& config);

/// What a resumed run may change and what it may not.
struct ResumeCheck {
  /// Keys that may change, and did, with what that means for the rest of the run.
  std::vector<std::string> notes;
};

/// Compares the full configuration of a run (training keys, `model`, `data`) with that of the checkpoint it
/// resumes from. Lengths, logging and checkpoint keys may change; threads may change, which ends bit equality
/// and is noted. Anything else throws fovea::Error (usage) naming the key and both values.
ResumeCheck check_resume(const nlohmann::json& saved, const nlohmann::json& wanted);

}  // namespace fovea::train
