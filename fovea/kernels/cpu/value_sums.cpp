#include "fovea/kernels/cpu/value_sums.h"

#include <algorithm>

#include "fovea/core/isa.h"
#include "fovea/core/isa_target.h"
#include "fovea/kernels/cpu/one_pass.h"
#include "fovea/mods/simd.h"

namespace fovea::kernels {

#define FOVEA_ROWS "fovea/kernels/cpu/value_sums.inl"
#include "fovea/kernels/cpu/each_isa.inl"

void sum_values(const ValueSums& sums, float* out, int64_t out_stride) {
  for_active_isa(baseline::value_sums, avx2::value_sums, avx512::value_sums)(sums, out, out_stride);
}

}  // namespace fovea::kernels
