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
  for_active_isa(baseline::value_sums<false>, avx2::value_sums<false>, avx512::value_sums<false>)(sums, out,
                                                                                                  out_stride);
}

void sum_values_by_columns(const ValueSums& sums, float* out, int64_t out_stride) {
  for_active_isa(baseline::value_sums<true>, avx2::value_sums<true>, avx512::value_sums<true>)(sums, out,
                                                                                               out_stride);
}

}  // namespace fovea::kernels
