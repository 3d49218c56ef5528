#include "fovea/cli/dry_run.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "fovea/models/registry.h"
#include "fovea/models/summary.h"
#include "fovea/nn/meta_device.h"

namespace fovea::cli {
namespace {

// Copies of the weights that a training holds: themselves, gradients, the optimiser's means, the average.
int64_t weight_copies(const nlohmann::json& config) {
  const std::string optimizer = config.value("optimizer", "adamw");
  const int64_t means = optimizer == "sgd" ? (config.value("momentum", 0.0) > 0 ? 1 : 0) : 2;
  return 2 + means + (config.value("ema_decay", 0.0) > 0 ? 1 : 0);
}

}  // namespace

TrainingEstimate estimate_training(const nlohmann::json& config) {
  const nlohmann::json& model = config.at("model");
  const std::string name = model.at("name");
  const nn::MetaDeviceScope meta;
  const auto network = models::make_image_model(name, models::settings_of(model));
  auto shape = network->inputs().front().shape;
  const auto& sizes = config.at("preprocessing");
  shape = {1, sizes.at("channels"), sizes.at("height"), sizes.at("width")};
  const auto summary = models::summarise(*network, shape);
  TrainingEstimate estimate{.model = name, .batch_size = config.at("batch_size")};
  estimate.parameters = summary.parameters;
  estimate.multiply_adds = summary.multiply_adds;
  estimate.state_bytes = weight_copies(config) * summary.parameters * static_cast<int64_t>(sizeof(float));
  estimate.activation_bytes = summary.activation_bytes * estimate.batch_size;
  estimate.memory_bytes = estimate.state_bytes + estimate.activation_bytes;
  return estimate;
}

nlohmann::ordered_json to_json(const TrainingEstimate& estimate) {
  return {{"model", estimate.model},
          {"batch_size", estimate.batch_size},
          {"parameters", estimate.parameters},
          {"multiply_adds", estimate.multiply_adds},
          {"state_bytes", estimate.state_bytes},
          {"activation_bytes", estimate.activation_bytes},
          {"memory_bytes", estimate.memory_bytes}};
}

std::string to_text(const TrainingEstimate& estimate) {
  constexpr double kMebi = 1 << 20;
  return fmt::format(
      "{}: {} parameters, {} multiply-adds an image\n"
      "batch of {}: about {:.0f} MiB for the training ({:.0f} weights and optimiser, {:.0f} activations)\n",
      estimate.model, estimate.parameters, estimate.multiply_adds, estimate.batch_size,
      static_cast<double>(estimate.memory_bytes) / kMebi, static_cast<double>(estimate.state_bytes) / kMebi,
      static_cast<double>(estimate.activation_bytes) / kMebi);
}

}  // namespace fovea::cli
