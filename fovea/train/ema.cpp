#include "fovea/train/ema.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/clone.h>
#include <fmt/format.h>
#include <torch/nn/module.h>

#include <algorithm>

#include "fovea/core/error.h"

namespace fovea::train {

Ema::Ema(const torch::nn::Module& model, double decay) : decay_(decay) {
  const at::NoGradGuard no_grad;
  for (const auto& item : model.named_parameters()) sources_[item.key()] = item.value();
  for (const auto& item : model.named_buffers()) sources_[item.key()] = item.value();
  for (const auto& [name, tensor] : sources_) averages_[name] = tensor.detach().clone();
}

void Ema::update() {
  const at::NoGradGuard no_grad;
  const double n = static_cast<double>(updates_++);
  const double decay = std::min(decay_, (1.0 + n) / (10.0 + n));
  std::vector<at::Tensor> averages, sources;
  for (auto& [name, average] : averages_) {
    if (average.is_floating_point()) {
      averages.push_back(average);
      sources.push_back(sources_.at(name));
    } else {
      average.copy_(sources_.at(name));
    }
  }
  at::_foreach_lerp_(averages, sources, 1.0 - decay);
}

void Ema::load(const io::TensorMap& averages, int64_t updates) {
  const at::NoGradGuard no_grad;
  for (auto& [name, average] : averages_) {
    const auto found = averages.find(name);
    if (found == averages.end() || found->second.sizes() != average.sizes()) {
      throw model_file_error("checkpoint",
                             fmt::format("the averaged weights lack '{}' in the network's shape.", name));
    }
    average.copy_(found->second);
  }
  updates_ = updates;
}

void Ema::swap() {
  const at::NoGradGuard no_grad;
  for (auto& [name, average] : averages_) {
    at::Tensor& source = sources_.at(name);
    const at::Tensor kept = source.detach().clone();
    source.copy_(average);
    average.copy_(kept);
  }
}

}  // namespace fovea::train
