#include "fovea/ops/verbose.h"

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace fovea {

bool reports_dispatch() {
  static const bool wanted = [] {
    const char* asked = std::getenv("FOVEA_VERBOSE");
    return asked && std::string_view(asked) == "dispatch";
  }();
  return wanted;
}

void report_dispatch(const std::string& line) { std::fprintf(stderr, "fovea: %s\n", line.c_str()); }

}  // namespace fovea
