#pragma once
#include <string>

namespace fovea {

/// Whether the environment has FOVEA_VERBOSE=dispatch: the user wants to see which implementation runs.
bool reports_dispatch();

/// Writes `fovea: LINE` to stderr.
void report_dispatch(const std::string& line);

}  // namespace fovea
