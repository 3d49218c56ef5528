#include "fovea/train/run_state.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/scalar_tensor.h>
#include <fmt/format.h>

#include "fovea/core/error.h"
#include "fovea/io/json_text.h"
#include "fovea/models/network.h"
#include "fovea/models/weights.h"

namespace fovea::train {
namespace {

using nlohmann::json;

void add(io::TensorMap& to, const std::string& prefix, const io::TensorMap& from) {
  for (const auto& [name, tensor] : from) to[prefix + name] = tensor;
}

io::TensorMap part(const io::TensorMap& from, const std::string& prefix) {
  io::TensorMap result;
  for (auto item = from.lower_bound(prefix); item != from.end() && item->first.starts_with(prefix); ++item) {
    result[item->first.substr(prefix.size())] = item->second;
  }
  return result;
}

const at::Tensor& need(const io::TensorMap& state, const std::string& name) {
  const auto found = state.find(name);
  if (found != state.end()) return found->second;
  throw model_file_error(
      "checkpoint", fmt::format("state.safetensors lacks '{}', without which the run cannot go on.", name));
}

json to_json(const RunProgress& progress) {
  return {{"best", progress.best},
          {"best_top1", progress.best_top1},
          {"interval_correct", progress.interval_correct},
          {"interval_loss", progress.interval_loss},
          {"interval_norm", progress.interval_norm},
          {"interval_samples", progress.interval_samples},
          {"interval_steps", progress.interval_steps}};
}

RunProgress from_json(const Checkpoint& checkpoint) try {
  RunProgress progress;
  const json& saved = checkpoint.progress;
  progress.step = checkpoint.step;
  progress.seconds = checkpoint.seconds;
  progress.best = saved.value("best", "");
  progress.best_top1 = saved.value("best_top1", -1.0);
  progress.interval_correct = saved.value("interval_correct", int64_t{0});
  progress.interval_loss = saved.value("interval_loss", 0.0);
  progress.interval_norm = saved.value("interval_norm", 0.0);
  progress.interval_samples = saved.value("interval_samples", int64_t{0});
  progress.interval_steps = saved.value("interval_steps", int64_t{0});
  return progress;
} catch (const json::exception&) {
  throw model_file_error(
      "checkpoint",
      fmt::format("the progress that state.safetensors tells must be numbers and a name; found {}. "
                  "Start a new run in another folder.",
                  io::show_json(checkpoint.progress)));
}

}  // namespace

Checkpoint pack_run(const models::ImageNetwork& model, TrainStep& step, const RunProgress& progress,
                    const json& config) {
  Checkpoint checkpoint;
  checkpoint.step = progress.step;
  checkpoint.seconds = progress.seconds;
  checkpoint.config = config;
  checkpoint.progress = to_json(progress);
  checkpoint.model = models::state_dict(model);
  if (step.ema() != nullptr) {
    add(checkpoint.state, "weights.", checkpoint.model);
    checkpoint.model = step.ema()->averages();
    checkpoint.state["ema.updates"] = at::scalar_tensor(step.ema()->updates(), at::kLong);
  }
  add(checkpoint.state, "optimizer.", step.optimizer().state());
  checkpoint.state["random.cpu"] = at::detail::getDefaultCPUGenerator().get_state();
  return checkpoint;
}

RunProgress unpack_run(const Checkpoint& checkpoint, models::ImageNetwork& model, TrainStep& step) {
  if (step.ema() != nullptr) {
    step.ema()->load(checkpoint.model, need(checkpoint.state, "ema.updates").item<int64_t>());
    models::load_state(model, part(checkpoint.state, "weights."), {});
  } else {
    models::load_state(model, checkpoint.model, {});
  }
  step.optimizer().load_state(part(checkpoint.state, "optimizer."));
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  generator.set_state(need(checkpoint.state, "random.cpu"));
  return from_json(checkpoint);
}

}  // namespace fovea::train
