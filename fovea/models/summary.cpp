#include "fovea/models/summary.h"

#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "fovea/nn/cost.h"
#include "fovea/nn/tap.h"

namespace fovea::models {
namespace {

/// How far one place of a tensor sees into the input: `size` places, the next place `jump` further.
struct Field {
  int64_t size = 1, jump = 1;
  bool all = false;
};

Field wider(const Field& a, const Field& b) {
  return {std::max(a.size, b.size), std::max(a.jump, b.jump), a.all || b.all};
}

// `fovea::nn::Conv2dImpl` -> `Conv2d`
std::string type_of(const torch::nn::Module& module) {
  std::string name = module.name();
  if (const auto colon = name.rfind("::"); colon != std::string::npos) name.erase(0, colon + 2);
  if (name.size() > 4 && name.compare(name.size() - 4, 4, "Impl") == 0) name.resize(name.size() - 4);
  return name;
}

/// Listens while the network runs.
class Recorder {
 public:
  explicit Recorder(const Network& network) {
    for (const auto& item : network.named_modules()) {
      LayerSummary row;
      row.path = item.key();
      row.type = type_of(*item.value());
      for (const auto& p : item.value()->parameters(/*recurse=*/false)) row.parameters += p.numel();
      index_[item.value().get()] = rows_.size();
      rows_.push_back(std::move(row));
    }
    fields_.resize(rows_.size());
  }

  void start(const at::Tensor& input) { remember(input, Field{}); }

  void note(const torch::nn::Module& module, const at::Tensor& input, const at::Tensor& output) {
    const auto it = index_.find(&module);
    if (it == index_.end()) return;
    LayerSummary& row = rows_[it->second];
    row.output_shape = output.sizes().vec();
    if (const auto* costed = dynamic_cast<const nn::Costed*>(&module)) {
      row.multiply_adds += costed->multiply_adds(input, output);
    }
    if (seen_.insert(output.unsafeGetTensorImpl()).second) {
      row.activation_bytes += static_cast<int64_t>(output.nbytes());
    }
    const Field field = field_of(module, it->second, input);
    fields_[it->second] = field;
    if (!field.all) row.receptive_field = field.size;
    if (field.all) row.receptive_field.reset();
    remember(output, field);
  }

  /// The rows that ran or hold parameters.
  std::vector<LayerSummary> rows() const {
    std::vector<LayerSummary> kept;
    for (const auto& row : rows_) {
      if (!row.output_shape.empty() || row.parameters > 0) kept.push_back(row);
    }
    return kept;
  }

 private:
  Field field_of(const torch::nn::Module& module, size_t index, const at::Tensor& input) const {
    const auto known = known_.find(input.unsafeGetTensorImpl());
    // A tensor that no layer gave comes out of an operation between layers: it sees what the last layer did.
    Field field = known == known_.end() ? last_ : known->second;
    if (const auto* windowed = dynamic_cast<const nn::Windowed*>(&module)) {
      const nn::Window w = windowed->window(input, 2);
      field.size += (w.kernel - 1) * w.dilation * field.jump;
      field.jump *= w.stride;
    }
    if (dynamic_cast<const nn::SeesAll*>(&module)) field.all = true;
    const std::string prefix = rows_[index].path.empty() ? "" : rows_[index].path + ".";
    for (size_t i = index + 1; i < rows_.size() && rows_[i].path.compare(0, prefix.size(), prefix) == 0;
         ++i) {
      if (!rows_[i].output_shape.empty()) field = wider(field, fields_[i]);
    }
    return field;
  }

  void remember(const at::Tensor& tensor, const Field& field) {
    alive_.push_back(tensor);
    known_[tensor.unsafeGetTensorImpl()] = field;
    last_ = field;
  }

  std::vector<LayerSummary> rows_;
  std::vector<Field> fields_;
  std::unordered_map<const torch::nn::Module*, size_t> index_;
  std::unordered_map<const c10::TensorImpl*, Field> known_;
  std::unordered_set<const c10::TensorImpl*> seen_;
  // Keeps addresses from being used again.
  std::vector<at::Tensor> alive_;
  Field last_;
};

at::Device device_of(const Network& network) {
  const auto parameters = network.parameters();
  return parameters.empty() ? at::Device(at::kCPU) : parameters.front().device();
}

io::TensorMap make_inputs(const Network& network, const std::vector<int64_t>& shape) {
  io::TensorMap inputs;
  bool first = true;
  for (const auto& spec : network.inputs()) {
    const auto options = at::TensorOptions().dtype(spec.dtype).device(device_of(network));
    inputs[spec.name] = at::zeros(first && !shape.empty() ? shape : spec.shape, options);
    first = false;
  }
  return inputs;
}

/// Sets evaluation mode, and back.
class EvaluationScope {
 public:
  explicit EvaluationScope(torch::nn::Module& module) : module_(module), was_training_(module.is_training()) {
    module_.eval();
  }
  ~EvaluationScope() { module_.train(was_training_); }

 private:
  torch::nn::Module& module_;
  bool was_training_;
};

}  // namespace

Summary summarise(Network& network, std::vector<int64_t> shape) {
  const c10::NoGradGuard no_grad;
  const EvaluationScope evaluation(network);
  const io::TensorMap inputs = make_inputs(network, shape);
  Recorder recorder(network);
  const auto first = inputs.at(network.inputs().front().name);
  recorder.start(first);
  {
    const nn::TapScope scope([&](const auto& module, const at::Tensor& input, const at::Tensor& output) {
      recorder.note(module, input, output);
    });
    network.run(inputs);
  }
  Summary summary;
  summary.input_shape = first.sizes().vec();
  summary.layers = recorder.rows();
  for (const auto& p : network.parameters()) {
    summary.parameters += p.numel();
    if (p.requires_grad()) summary.trainable += p.numel();
  }
  for (const auto& row : summary.layers) {
    summary.multiply_adds += row.multiply_adds;
    summary.activation_bytes += row.activation_bytes;
  }
  return summary;
}

nlohmann::json to_json(const Summary& summary) {
  nlohmann::json layers = nlohmann::json::array();
  for (const auto& row : summary.layers) {
    layers.push_back(
        {{"layer", row.path},
         {"type", row.type},
         {"output", row.output_shape},
         {"parameters", row.parameters},
         {"multiply_adds", row.multiply_adds},
         {"receptive_field", row.receptive_field ? nlohmann::json(*row.receptive_field) : nullptr},
         {"activation_bytes", row.activation_bytes}});
  }
  return {{"parameters", summary.parameters},       {"trainable", summary.trainable},
          {"multiply_adds", summary.multiply_adds}, {"activation_bytes", summary.activation_bytes},
          {"input", summary.input_shape},           {"layers", std::move(layers)}};
}

}  // namespace fovea::models
