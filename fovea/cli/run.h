#pragma once
#include "fovea/cli/command.h"
#include "fovea/core/error.h"
#include "fovea/io/tensors.h"

namespace fovea::cli {

Command run_model_command();
Command run_mechanism_command();

/// A flag that names a .safetensors file.
Argument tensors_flag(const std::string& name, const std::string& help);

/// `--output FILE`, where tensors go.
Argument tensors_output_flag(const std::string& help);

/// The value of a flag that is needed here though not always. Throws Error (usage).
std::string required(const Call& call, const std::string& flag);

/// The tensors of --input. What is wrong with that file is bad data: Error (data).
io::TensorMap load_input(const std::string& file);

/// What an error says, without its `[where]`.
std::string message_of(const Error& error);
/// The same with its place before it: `where: rule; found X. Remedy.`
std::string placed_message_of(const Error& error);

}  // namespace fovea::cli
