#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace fovea::cli {

/// What a training will need, found without running it.
struct TrainingEstimate {
  std::string model;
  int64_t batch_size = 0;
  int64_t parameters = 0;
  /// Of one image's forward pass.
  int64_t multiply_adds = 0;
  /// Weights, gradients and the optimiser's state.
  int64_t state_bytes = 0;
  /// Kept for the backward pass of one batch.
  int64_t activation_bytes = 0;
  /// state_bytes + activation_bytes: an estimate, without the data and libtorch itself.
  int64_t memory_bytes = 0;
};

/// `config` as tasks::resolve_classify() gives it. Errors as models::make_model().
TrainingEstimate estimate_training(const nlohmann::json& config);

nlohmann::ordered_json to_json(const TrainingEstimate& estimate);
std::string to_text(const TrainingEstimate& estimate);

}  // namespace fovea::cli
