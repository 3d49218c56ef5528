#pragma once
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "fovea/cli/command.h"

namespace fovea::cli {

/// The flags of `fovea train classify` that stand for a key of the configuration.
std::vector<Argument> classify_flags();

/// The configuration that a call asks for, without what the data will say:
///   recipe < config.json of the run that is resumed < --config FILE < --set < named flags.
/// Throws Error (usage) when it names no model or no data.
nlohmann::json classify_settings(const Call& call);

}  // namespace fovea::cli
