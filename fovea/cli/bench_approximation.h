#pragma once
#include "fovea/cli/command.h"

namespace fovea::cli {

Command bench_approximation_command();

}  // namespace fovea::cli
