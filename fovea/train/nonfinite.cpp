#include "fovea/train/nonfinite.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>
#include <fmt/format.h>

#include <map>

#include "fovea/models/network.h"
#include "fovea/nn/tap.h"

namespace fovea::train {
namespace {

bool finite(const at::Tensor& tensor) {
  return !tensor.is_floating_point() || at::isfinite(tensor).all().item<bool>();
}

std::string bad_image(const at::Tensor& images) {
  for (int64_t i = 0; i < images.size(0); ++i) {
    if (!finite(images[i])) return fmt::format("the input (image {} of the batch)", i);
  }
  return "";
}

std::map<const torch::nn::Module*, std::string> module_names(const torch::nn::Module& model) {
  std::map<const torch::nn::Module*, std::string> names;
  for (const auto& item : model.named_modules()) names[item.value().get()] = item.key();
  return names;
}

}  // namespace

std::string find_nonfinite(models::ImageNetwork& model, const at::Tensor& images) {
  if (std::string found = bad_image(images); !found.empty()) return found;
  for (const auto& item : model.named_parameters()) {
    if (!finite(item.value())) return "the parameter " + item.key();
  }
  const at::NoGradGuard no_grad;
  const auto names = module_names(model);
  std::string found;
  const nn::TapScope scope([&](const torch::nn::Module& module, const at::Tensor&, const at::Tensor& output) {
    if (!found.empty() || finite(output)) return;
    const auto name = names.find(&module);
    const std::string known = name == names.end() ? "" : name->second;
    found = known.empty() ? "the output of the network" : "the output of " + known;
  });
  const at::Tensor logits = model.forward(images);
  if (found.empty() && !finite(logits)) found = "the output of the network";
  return found;
}

std::string find_nonfinite_gradient(const std::vector<NamedParameter>& parameters) {
  for (auto item = parameters.rbegin(); item != parameters.rend(); ++item) {
    if (item->value.grad().defined() && !finite(item->value.grad())) return item->name;
  }
  return "";
}

}  // namespace fovea::train
