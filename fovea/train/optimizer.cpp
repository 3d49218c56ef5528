#include "fovea/train/optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/softshrink.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>
#include <torch/nn/module.h>

#include <cmath>

#include "fovea/core/error.h"

namespace fovea::train {
namespace {

constexpr double kEpsilon = 1e-8;

bool decays(const std::string& name, const at::Tensor& value) {
  if (value.dim() <= 1 || name.ends_with(".bias")) return false;
  for (const char* part : {"cls_token", "pos_embed", "dist_token", "relative_position_bias_table"}) {
    if (name.find(part) != std::string::npos) return false;
  }
  return true;
}

bool same_layout(const at::Tensor& a, const at::Tensor& b) {
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) > 1 && a.stride(d) != b.stride(d)) return false;
  }
  return true;
}

/// The gradient in the parameter's memory order, as the fused updates walk raw memory.
at::Tensor aligned_gradient(const at::Tensor& value) {
  const at::Tensor& gradient = value.grad();
  if (same_layout(value, gradient)) return gradient;
  return at::empty_like(value).copy_(gradient);
}

std::vector<at::Tensor> gradients(const std::vector<NamedParameter>& parameters) {
  std::vector<at::Tensor> list;
  for (const NamedParameter& parameter : parameters) {
    if (parameter.value.grad().defined()) list.push_back(parameter.value.grad());
  }
  return list;
}

}  // namespace

std::vector<NamedParameter> trainable_parameters(const torch::nn::Module& model) {
  std::vector<NamedParameter> list;
  for (const auto& item : model.named_parameters()) {
    if (!item.value().requires_grad()) continue;
    list.push_back({item.key(), item.value(), decays(item.key(), item.value())});
  }
  return list;
}

/// The tensors of one fused call.
struct Optimizer::Lists {
  std::vector<at::Tensor> values, gradients, first, second, steps;
};

Optimizer::Optimizer(const torch::nn::Module& model, const TrainConfig& config)
    : config_(config), parameters_(trainable_parameters(model)), step_(at::scalar_tensor(0.0f)) {
  const bool adaptive = config.optimizer != "sgd";
  for (const NamedParameter& parameter : parameters_) {
    if (!parameter.value.is_non_overlapping_and_dense()) {
      throw usage_error("optimizer", fmt::format("parameter {} must be dense in memory.", parameter.name));
    }
    if (adaptive || config.momentum > 0) first_.push_back(at::zeros_like(parameter.value));
    if (adaptive) second_.push_back(at::zeros_like(parameter.value));
  }
}

void Optimizer::step(double lr) {
  const at::NoGradGuard no_grad;
  step_.add_(1);
  step_group(true, lr);
  step_group(false, lr);
}

void Optimizer::step_group(bool decays, double lr) {
  Lists lists;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const NamedParameter& parameter = parameters_[i];
    if (parameter.decays != decays || !parameter.value.grad().defined()) continue;
    lists.values.push_back(parameter.value);
    lists.gradients.push_back(aligned_gradient(parameter.value));
    if (!first_.empty()) lists.first.push_back(first_[i]);
    if (!second_.empty()) lists.second.push_back(second_[i]);
    lists.steps.push_back(step_);
  }
  if (lists.values.empty()) return;
  const double decay = decays ? config_.weight_decay : 0.0, l2 = decays ? config_.l2 : 0.0;
  if (config_.optimizer == "sgd") {
    at::_fused_sgd_(lists.values, lists.gradients, lists.first, decay + l2, config_.momentum, lr, 0.0,
                    config_.nesterov, false, false);
  } else if (config_.optimizer == "adam") {
    at::_fused_adam_(lists.values, lists.gradients, lists.first, lists.second, {}, lists.steps, lr,
                     config_.beta1, config_.beta2, decay + l2, kEpsilon, false, false);
  } else {
    if (l2 > 0) at::_foreach_add_(lists.gradients, lists.values, l2);
    at::_fused_adamw_(lists.values, lists.gradients, lists.first, lists.second, {}, lists.steps, lr,
                      config_.beta1, config_.beta2, decay, kEpsilon, false, false);
  }
  if (decays && config_.l1 > 0) {
    for (at::Tensor& value : lists.values) at::softshrink_out(value, value, lr * config_.l1);
  }
}

void Optimizer::zero_grad() {
  for (NamedParameter& parameter : parameters_) parameter.value.mutable_grad().reset();
}

io::TensorMap Optimizer::state() const {
  io::TensorMap map = {{"step", step_}};
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].name;
    if (second_.empty()) {
      if (!first_.empty()) map[name + ".momentum"] = first_[i];
      continue;
    }
    map[name + ".exp_avg"] = first_[i];
    map[name + ".exp_avg_sq"] = second_[i];
  }
  return map;
}

void Optimizer::load_state(const io::TensorMap& state) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : this->state()) {
    const auto found = state.find(name);
    if (found == state.end()) {
      throw model_file_error("checkpoint",
                             fmt::format("the optimiser's state lacks '{}'. It is of another network "
                                         "or optimiser.",
                                         name));
    }
    if (found->second.sizes() != tensor.sizes()) {
      throw model_file_error("checkpoint",
                             fmt::format("the optimiser's '{}' has {} values where {} are needed.", name,
                                         found->second.numel(), tensor.numel()));
    }
    at::Tensor(tensor).copy_(found->second);
  }
}

double gradient_norm(const std::vector<NamedParameter>& parameters) {
  double squares = 0.0;
  const std::vector<at::Tensor> list = gradients(parameters);
  if (list.empty()) return 0.0;
  for (const at::Tensor& norm : at::_foreach_norm(list)) {
    const double value = norm.item<double>();
    squares += value * value;
  }
  return std::sqrt(squares);
}

void clip_gradients(const std::vector<NamedParameter>& parameters, double norm, double limit) {
  const double factor = limit / (norm + 1e-6);
  if (factor >= 1.0) return;
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> list = gradients(parameters);
  at::_foreach_mul_(list, factor);
}

}  // namespace fovea::train
