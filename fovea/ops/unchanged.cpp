#include "fovea/ops/unchanged.h"

#include "fovea/core/error.h"
#include "fovea/ops/describe.h"
#include "fovea/ops/option_tensors.h"

namespace fovea {

Unchanged::Unchanged(const AttendOptions& options) {
  for (const auto& t : tensors_of(options)) {
    if (!t.is_inference()) watched_.push_back({t, t._version()});
  }
}

void Unchanged::check(const char* where) const {
  for (const auto& [tensor, version] : watched_) {
    if (tensor._version() == version) continue;
    throw usage_error(where, "tensors of the options must keep their numbers until the gradient is computed",
                      describe(tensor) + " changed in place", "Pass a clone.");
  }
}

}  // namespace fovea
