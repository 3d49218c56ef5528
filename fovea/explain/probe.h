#pragma once
// What explainers share when they run a network.
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <string>
#include <utility>
#include <vector>

#include "fovea/models/network.h"

namespace fovea::explain {

/// Evaluation mode while it lives; each module's own mode comes back afterwards.
class EvaluationScope {
 public:
  explicit EvaluationScope(torch::nn::Module& network);
  ~EvaluationScope();
  EvaluationScope(const EvaluationScope&) = delete;
  EvaluationScope& operator=(const EvaluationScope&) = delete;

 private:
  torch::nn::Module& network_;
  bool network_training_;
  std::vector<std::pair<torch::nn::Module*, bool>> training_;
};

/// The dotted name of `module` inside `network`; empty when it is the network itself or not inside.
std::string module_name(const torch::nn::Module& network, const torch::nn::Module& module);

/// Throws fovea::Error (usage) unless `image` is (1, C, H, W) of a floating type, (numeric) unless finite.
void check_single_image(const std::string& where, const at::Tensor& image);

/// `layer`'s output at the image's places, as a map.
/// (1, C, h, w) stays; tokens (1, prefix + rows columns, C) become (1, C, rows, columns).
/// Throws fovea::Error (usage) on any other shape.
at::Tensor as_feature_map(const at::Tensor& output, const models::TokenGrid& grid, const std::string& layer);

/// The error of a method that does not fit: says why, and which methods fit.
[[noreturn]] void throw_unfit(const std::string& method, const std::string& why);

}  // namespace fovea::explain
