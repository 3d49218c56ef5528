#pragma once
#include <torch/nn/module.h>

#include <filesystem>
#include <string>
#include <vector>

#include "fovea/io/tensors.h"

namespace fovea::models {

struct LoadOptions {
  /// Refuse unless the tensors are exactly the module's. Otherwise those that fit are loaded, the rest
  /// reported.
  bool strict = true;
  /// What errors call the tensors of load_state().
  std::string name = "the state";
};

/// What did not fit, by name, in alphabetical order.
struct LoadReport {
  /// The module has it, the tensors lack it; the module's value stays. BatchNorm's `num_batches_tracked` may
  /// be missing without being named, as torch allows: files of before 2018 lack it.
  std::vector<std::string> missing;
  /// The tensors have it, the module does not.
  std::vector<std::string> unexpected;
  /// Shapes differ; as `name: model (3, 4), weights (4, 3)`.
  std::vector<std::string> mis_shaped;
};

/// Parameters and buffers by dotted name, as torch's state_dict(): the tensors share memory with the module.
io::TensorMap state_dict(const torch::nn::Module& module);

/// Copies `tensors` into the module, converting their type. With options.strict, throws fovea::Error
/// (model_file), naming the tensors that do not fit, before anything is changed.
LoadReport load_state(torch::nn::Module& module, const io::TensorMap& tensors,
                      const LoadOptions& options = {});

/// load_state() from a safetensors file, one tensor in memory at a time; `path` as io::TensorFile takes it.
LoadReport load_weights(torch::nn::Module& module, const std::filesystem::path& path,
                        const LoadOptions& options = {});

}  // namespace fovea::models
