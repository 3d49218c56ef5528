#include "fovea/explain/probe.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "fovea/core/error.h"

namespace fovea::explain {

// Without the network itself: modules() reaches that through a shared pointer only, and it may live on the
// stack.
EvaluationScope::EvaluationScope(torch::nn::Module& network)
    : network_(network), network_training_(network.is_training()) {
  for (const auto& module : network.modules(/*include_self=*/false)) {
    training_.emplace_back(module.get(), module->is_training());
  }
  network.eval();
}

EvaluationScope::~EvaluationScope() {
  // train() reaches a module's children too, and children come after their parents here.
  network_.train(network_training_);
  for (const auto& [module, training] : training_) module->train(training);
}

std::string module_name(const torch::nn::Module& network, const torch::nn::Module& module) {
  for (const auto& item : network.named_modules({}, /*include_self=*/false)) {
    if (item.value().get() == &module) return item.key();
  }
  return {};
}

void check_single_image(const std::string& where, const at::Tensor& image) {
  if (!image.defined() || image.dim() != 4 || image.size(0) != 1 || image.numel() == 0 ||
      !image.is_floating_point()) {
    const std::string found =
        image.defined() ? fmt::format("({}) {}", fmt::join(image.sizes(), ", "), image.dtype().name())
                        : std::string("no tensor");
    throw usage_error(where, "the image is one floating tensor (1, C, H, W); found " + found +
                                 ". Normalise it as in training and add a batch of 1.");
  }
  if (!image.isfinite().all().item<bool>()) {
    throw numeric_error(where, "the image must be finite; found NaN or infinity.");
  }
}

at::Tensor as_feature_map(const at::Tensor& output, const models::TokenGrid& grid, const std::string& layer) {
  if (output.dim() == 4) return output;
  const int64_t places = grid.rows * grid.columns;
  if (output.dim() == 3 && places > 0 && output.size(1) == grid.prefix + places) {
    const at::Tensor patches = output.slice(1, grid.prefix);
    return patches.transpose(1, 2).reshape({output.size(0), output.size(2), grid.rows, grid.columns});
  }
  throw usage_error(
      "explain",
      fmt::format("layer '{}' has no places of the image in its output; found shape ({}). Choose a "
                  "layer whose output is (B, C, h, w) or the image's tokens, or leave --layer out.",
                  layer, fmt::join(output.sizes(), ", ")));
}

void throw_unfit(const std::string& method, const std::string& why) {
  throw usage_error("explain",
                    fmt::format("{} does not fit this network: {}. Use gradcam, gradcam++, saliency, "
                                "input_x_gradient, integrated_gradients or occlusion.",
                                method, why));
}

}  // namespace fovea::explain
