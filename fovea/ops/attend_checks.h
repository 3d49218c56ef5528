#pragma once
#include "fovea/ops/attend.h"

namespace fovea {

/// Throws Error (usage) unless attend() can take these. O(1), but for segment ids, which are read.
void check_attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const AttendOptions& options);

}  // namespace fovea
