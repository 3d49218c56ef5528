#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "fovea/io/tensors.h"

namespace fovea::train {

/// All that a run needs to go on, and all that its user needs of it.
struct Checkpoint {
  /// Optimiser steps done.
  int64_t step = 0;
  /// model.safetensors: the weights to use; with EMA the averaged ones.
  io::TensorMap model;
  /// state.safetensors: optimiser, random generator, training weights when they differ from `model`.
  io::TensorMap state;
  /// In the metadata of state.safetensors: metrics so far, the best checkpoint. The position in the data
  /// follows from the step.
  nlohmann::json progress = nlohmann::json::object();
  /// config.json: how to build, feed and train the network.
  nlohmann::json config;
  /// Wall time of the run so far. In manifest.json, so that equal runs write equal files otherwise.
  double seconds = 0.0;
};

/// `checkpoint-STEP`.
std::string checkpoint_name(int64_t step);

/// Step of a folder named `checkpoint-STEP`, or -1.
int64_t checkpoint_step(const std::string& name);

/// Checkpoints in a run folder, newest first, sound or not.
std::vector<std::string> checkpoint_names(const std::filesystem::path& run);

/// The checkpoint that the small file `pointer` (`last`, `best`) of a run folder names; empty when there is
/// none.
std::string pointed_checkpoint(const std::filesystem::path& run, const char* pointer);

/// Writes `parent`/checkpoint-STEP so that a reader, whenever the writer is killed, sees all of it or
/// nothing: files into tmp-checkpoint-STEP, each flushed to disk; manifest.json with size and CRC32C of each,
/// last; rename. Returns the folder. Throws fovea::Error (other) when the disk refuses; then nothing is left
/// under the final name.
std::filesystem::path write_checkpoint(const std::filesystem::path& parent, const Checkpoint& checkpoint);

/// What is wrong with a checkpoint folder, as one line naming the file; empty when every file has the size
/// and CRC32C of the manifest. Reads every byte.
std::string find_damage(const std::filesystem::path& folder);

/// Refuses weights (a checkpoint folder or its model.safetensors) that the manifest beside them contradicts;
/// without a manifest nothing is checked. A copy may have any name: it must be the manifest's in a run folder
/// only. Throws fovea::Error (model_file).
void require_undamaged(const std::filesystem::path& weights);

/// Reads a checkpoint after `find_damage`. Throws fovea::Error (model_file).
Checkpoint read_checkpoint(const std::filesystem::path& folder);

/// The same; nothing, and what is wrong in `damage`, instead of an error about a damaged one.
std::optional<Checkpoint> read_checkpoint(const std::filesystem::path& folder, std::string& damage);

/// A CHECKPOINT argument resolved to its files.
struct CheckpointFiles {
  std::filesystem::path weights;
  std::filesystem::path config;
  /// Damaged checkpoints that were passed over, one line each.
  std::vector<std::string> notes;
};

/// Finds weights and configuration of a run folder (its best, else its last, else the newest sound
/// checkpoint), a checkpoint folder, or a .safetensors file with config.json beside it. Throws fovea::Error
/// (model_file) when there is none or all are damaged.
CheckpointFiles find_checkpoint(const std::filesystem::path& argument);

}  // namespace fovea::train
