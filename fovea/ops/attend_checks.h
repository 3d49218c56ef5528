#pragma once
#include "fovea/ops/attend.h"

namespace fovea {

/// Throws Error (usage), in the name of the operator `where`, unless attend() can take these. O(1), but for
/// segment ids, which are read.
void check_attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttendOptions& options,
                  const char* where = "attend");

}  // namespace fovea
