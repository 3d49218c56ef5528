#include "fovea/train/train_step.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <fmt/format.h>

#include <cmath>

#include "fovea/core/error.h"
#include "fovea/models/network.h"
#include "fovea/nn/activation_checkpoint.h"
#include "fovea/nn/penalty.h"
#include "fovea/train/autocast.h"
#include "fovea/train/nonfinite.h"

namespace fovea::train {
namespace {

/// Convolution weights get the layout in which the convolution wants them, once instead of at every step.
models::ImageNetwork& prepare(models::ImageNetwork& model, const TrainConfig& config) {
  if (config.channels_last) {
    for (at::Tensor& value : model.parameters()) {
      if (value.dim() == 4) value.set_data(value.data().contiguous(at::MemoryFormat::ChannelsLast));
    }
  }
  if (config.activation_checkpointing) {
    model.set_block_runner([](torch::nn::Module& block, const auto& forward, const at::Tensor& x) {
      nn::CheckpointOptions options;
      options.buffers = block.buffers();
      return nn::checkpoint(forward, x, options);
    });
  }
  return model;
}

int64_t count_correct(const at::Tensor& logits, const data::Batch& batch) {
  const at::NoGradGuard no_grad;
  const at::Tensor wanted = batch.targets.defined() ? batch.targets.argmax(1) : batch.labels;
  return logits.detach().argmax(1).eq(wanted).sum().item<int64_t>();
}

}  // namespace

TrainStep::TrainStep(models::ImageNetwork& model, const TrainConfig& config)
    : model_(prepare(model, config)), config_(config), optimizer_(model, config) {
  if (config.ema_decay > 0) ema_ = std::make_unique<Ema>(model, config.ema_decay);
}

StepOutcome TrainStep::run(const std::vector<data::Batch>& batches, double lr, int64_t step) {
  StepOutcome outcome;
  int64_t samples = 0;
  for (const data::Batch& batch : batches) samples += batch.images.size(0);
  optimizer_.zero_grad();
  for (const data::Batch& batch : batches) backward(batch, samples, step, outcome);
  outcome.grad_norm = gradient_norm(optimizer_.parameters());
  if (!std::isfinite(outcome.grad_norm)) {
    const std::string name = find_nonfinite_gradient(optimizer_.parameters());
    throw numeric_error(
        "train", fmt::format("gradients must be finite; found {} at step {}, in {}.", outcome.grad_norm, step,
                             name.empty() ? "their norm" : "the gradient of " + name));
  }
  if (config_.clip_norm > 0) clip_gradients(optimizer_.parameters(), outcome.grad_norm, config_.clip_norm);
  optimizer_.step(lr);
  if (ema_) ema_->update();
  return outcome;
}

void TrainStep::backward(const data::Batch& batch, int64_t samples, int64_t step, StepOutcome& outcome) {
  // For the search below, which must see the same dropout.
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const at::Tensor random = generator.get_state();
  at::Tensor images = batch.images;
  if (config_.channels_last) images = images.contiguous(at::MemoryFormat::ChannelsLast);
  at::Tensor logits, loss;
  {
    const AutocastScope autocast(config_.amp == "bf16");
    logits = model_.forward(images).to(at::kFloat);
    const at::Tensor& targets = batch.targets.defined() ? batch.targets : batch.labels;
    loss = at::cross_entropy_loss(logits, targets, {}, at::Reduction::Mean, -100, config_.label_smoothing);
    const at::Tensor penalties = nn::take_penalties(model_);
    if (penalties.defined()) loss = loss + penalties;
  }
  const double share = static_cast<double>(images.size(0)) / static_cast<double>(samples);
  const double value = loss.item<double>();
  if (!std::isfinite(value)) {
    generator.set_state(random);
    const AutocastScope autocast(config_.amp == "bf16");
    const std::string where = find_nonfinite(model_, images);
    throw numeric_error("train", fmt::format("the loss must be finite; found {} at step {}, first in {}.",
                                             value, step, where.empty() ? "the loss itself" : where));
  }
  outcome.loss += share * value;
  outcome.correct += count_correct(logits, batch);
  outcome.samples += images.size(0);
  (share == 1.0 ? loss : loss * share).backward();
}

}  // namespace fovea::train
