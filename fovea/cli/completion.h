#pragma once
#include <string>

#include "fovea/cli/command.h"

namespace fovea::cli {

/// Completion scripts made from the table of commands, so that they know every flag the parser knows.
std::string bash_completion(const Command& root);
std::string zsh_completion(const Command& root);
std::string fish_completion(const Command& root);

}  // namespace fovea::cli
