#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "fovea/cli/command.h"

namespace fovea::cli {

/// The flat configuration of a network from --config FILE (a model's own, or a training's, of which `model`
/// is taken) and --set [model.]key=value. Throws Error (usage).
nlohmann::json model_settings(const Call& call);

/// The keys that some network takes, for the shell.
std::vector<std::string> model_keys();

/// `3x224x224` -> (3, 224, 224): positive, up to four numbers. Throws Error (usage) naming `flag`.
std::vector<int64_t> parse_shape(const Call& call, const std::string& flag);

}  // namespace fovea::cli
