#include "fovea/kernels/cpu/observe_rows.h"

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <functional>

#include "fovea/core/isa.h"
#include "fovea/mods/simd.h"

namespace fovea::kernels {
namespace {

// The list has a place for it.
void insert(const TopList& list, float weight, int64_t key) {
  int64_t at = list.count - 1;
  for (; at > 0 && list.weights[at - 1] < weight; --at) {
    list.weights[at] = list.weights[at - 1];
    list.keys[at] = list.keys[at - 1];
  }
  list.weights[at] = weight;
  list.keys[at] = key;
}

}  // namespace

// FOVEA_ABOVE(row, least): a bit for each number of a vector that is larger.

namespace baseline {
#define FOVEA_LANES 4
#define FOVEA_TARGET
#define FOVEA_ABOVE(row, least) _mm_movemask_ps(_mm_cmpgt_ps(_mm_loadu_ps(row), _mm_set1_ps(least)))
#include "fovea/kernels/cpu/observe_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_ABOVE
}  // namespace baseline

namespace avx2 {
#define FOVEA_LANES 8
#define FOVEA_TARGET __attribute__((target("avx2,fma")))
#define FOVEA_ABOVE(row, least) \
  _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(row), _mm256_set1_ps(least), _CMP_GT_OQ))
#include "fovea/kernels/cpu/observe_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_ABOVE
}  // namespace avx2

namespace avx512 {
#define FOVEA_LANES 16
#define FOVEA_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#define FOVEA_ABOVE(row, least) _mm512_cmp_ps_mask(_mm512_loadu_ps(row), _mm512_set1_ps(least), _CMP_GT_OQ)
#include "fovea/kernels/cpu/observe_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_ABOVE
}  // namespace avx512

ObserveKernels observe_kernels() {
  if (active_isa() >= Isa::avx512) return avx512::kernels();
  if (active_isa() >= Isa::avx2) return avx2::kernels();
  return baseline::kernels();
}

}  // namespace fovea::kernels
