#include "fovea/kernels/cpu/additive_rows.h"

#include <immintrin.h>

#include <limits>

#include "fovea/core/isa.h"
#include "fovea/mods/simd.h"

namespace fovea::kernels {

namespace baseline {
#define FOVEA_LANES 4
#define FOVEA_TARGET
#define FOVEA_VECTORS 2
#define FOVEA_RECIPROCAL(x) (1.0f / (x))
#define FOVEA_REFINE(r, x) (r)
#include "fovea/kernels/cpu/additive_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_VECTORS
#undef FOVEA_RECIPROCAL
#undef FOVEA_REFINE
}  // namespace baseline

// One step of Newton takes 12 bits of a reciprocal to 23, 14 to the last one.
#define FOVEA_REFINE(r, x) ((r) * (2.0f - (x) * (r)))

namespace avx2 {
#define FOVEA_LANES 8
#define FOVEA_TARGET __attribute__((target("avx2,fma")))
#define FOVEA_VECTORS 4
#define FOVEA_RECIPROCAL(x) ((NF)_mm256_rcp_ps((__m256)(x)))
#include "fovea/kernels/cpu/additive_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_VECTORS
#undef FOVEA_RECIPROCAL
}  // namespace avx2

namespace avx512 {
#define FOVEA_LANES 16
#define FOVEA_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#define FOVEA_VECTORS 4
#define FOVEA_RECIPROCAL(x) ((NF)_mm512_maskz_rcp14_ps(__mmask16(-1), (__m512)(x)))
#include "fovea/kernels/cpu/additive_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_VECTORS
#undef FOVEA_RECIPROCAL
}  // namespace avx512

AdditiveKernels additive_kernels() {
  if (active_isa() >= Isa::avx512) return avx512::additive();
  if (active_isa() >= Isa::avx2) return avx2::additive();
  return baseline::additive();
}

}  // namespace fovea::kernels
