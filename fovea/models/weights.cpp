#include "fovea/models/weights.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <functional>
#include <map>

#include "fovea/core/error.h"
#include "fovea/ops/describe.h"

namespace fovea::models {
namespace {

/// Where tensors come from: a map or a file.
struct Source {
  std::string where;
  std::map<std::string, std::vector<int64_t>> shapes;
  std::function<at::Tensor(const std::string&)> load;
};

bool may_be_missing(const std::string& name) { return name.ends_with("num_batches_tracked"); }

LoadReport compare(const io::TensorMap& state, const Source& source) {
  LoadReport report;
  for (const auto& [name, tensor] : state) {
    const auto it = source.shapes.find(name);
    if (it == source.shapes.end()) {
      if (!may_be_missing(name)) report.missing.push_back(name);
    } else if (tensor.sizes() != at::IntArrayRef(it->second)) {
      report.mis_shaped.push_back(name + ": model " + describe_shape(tensor.sizes()) + ", weights " +
                                  describe_shape(it->second));
    }
  }
  for (const auto& [name, shape] : source.shapes) {
    if (!state.count(name)) report.unexpected.push_back(name);
  }
  return report;
}

// `2 missing (a, b)`; at most five are named.
void describe_names(std::string& text, const char* what, const std::vector<std::string>& names) {
  if (names.empty()) return;
  text += (text.empty() ? "" : "; ") + std::to_string(names.size()) + " " + what + " (";
  const size_t shown = std::min<size_t>(names.size(), 5);
  for (size_t i = 0; i < shown; ++i) text += (i ? ", " : "") + names[i];
  text += shown < names.size() ? ", ...)" : ")";
}

void refuse_misfits(const Source& source, const LoadReport& report) {
  std::string text;
  describe_names(text, "missing", report.missing);
  describe_names(text, "unexpected", report.unexpected);
  describe_names(text, "mis-shaped", report.mis_shaped);
  if (text.empty()) return;
  throw model_file_error("load_weights",
                         source.where + " must hold exactly the model's tensors; found " + text +
                             ". Give the model and configuration that the weights were made with.");
}

LoadReport load(torch::nn::Module& module, const Source& source, const LoadOptions& options) {
  const io::TensorMap state = state_dict(module);
  LoadReport report = compare(state, source);
  if (options.strict) refuse_misfits(source, report);
  const c10::NoGradGuard no_grad;
  for (const auto& [name, tensor] : state) {
    const auto it = source.shapes.find(name);
    if (it == source.shapes.end() || tensor.sizes() != at::IntArrayRef(it->second)) continue;
    at::Tensor target = tensor;
    const at::Tensor value = source.load(name);
    if (value.is_complex() && !target.is_complex()) {
      throw model_file_error("load_weights", source.where + " must hold real numbers; found '" + name +
                                                 "', " + describe(value) +
                                                 ". Give the weights that were made for the model.");
    }
    target.copy_(value);
  }
  return report;
}

}  // namespace

io::TensorMap state_dict(const torch::nn::Module& module) {
  io::TensorMap state;
  for (const auto& item : module.named_parameters()) state[item.key()] = item.value().detach();
  for (const auto& item : module.named_buffers()) {
    if (item.value().defined()) state[item.key()] = item.value().detach();
  }
  return state;
}

LoadReport load_state(torch::nn::Module& module, const io::TensorMap& tensors, const LoadOptions& options) {
  Source source{options.name, {}, [&](const std::string& name) { return tensors.at(name); }};
  for (const auto& [name, tensor] : tensors) source.shapes[name] = tensor.sizes().vec();
  return load(module, source, options);
}

LoadReport load_weights(torch::nn::Module& module, const std::filesystem::path& path,
                        const LoadOptions& options) {
  const io::TensorFile file(path);
  Source source{"'" + path.string() + "'", {}, [&](const std::string& name) { return file.load(name); }};
  for (const auto& name : file.names()) source.shapes[name] = file.shape(name);
  return load(module, source, options);
}

}  // namespace fovea::models
