#pragma once
#include "fovea/cli/command.h"

namespace fovea::cli {

/// Obeys --device and --threads, before any work: libtorch's pools of threads cannot grow later.
/// `configured` counts when --threads is not given; 0 leaves libtorch's choice (every core).
/// Throws Error: usage for a device that this build lacks, or a number of threads out of range; other when
/// another libtorch is loaded than the one that the program was built for.
void apply_device_and_threads(const Call& call, int64_t configured = 0);

}  // namespace fovea::cli
