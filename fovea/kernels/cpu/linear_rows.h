#pragma once
#include <cstdint>

#include "fovea/kernels/cpu/pack.h"

namespace fovea::kernels {

/// sums[r] = rows[r] . factors + the sum of others[r]; factors (rows.dim), others.count of them.
void sum_rows(const Rows<float>& rows, const float* factors, const Rows<float>& others, float* sums);

}  // namespace fovea::kernels
