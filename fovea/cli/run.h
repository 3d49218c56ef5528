#pragma once
#include "fovea/cli/command.h"
#include "fovea/core/error.h"

namespace fovea::cli {

Command run_model_command();
Command run_mechanism_command();

/// A flag that names a .safetensors file.
Argument tensors_flag(const std::string& name, const std::string& help);

/// The value of a flag that is needed here though not always. Throws Error (usage).
std::string required(const Call& call, const std::string& flag);

}  // namespace fovea::cli
