#include "fovea/kernels/cpu/gradient_rows.h"

#include <limits>

#include "fovea/core/isa.h"
#include "fovea/mods/simd.h"

namespace fovea::kernels {

namespace baseline {
#define FOVEA_LANES 4
#define FOVEA_TARGET
#include "fovea/kernels/cpu/gradient_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
}  // namespace baseline

namespace avx2 {
#define FOVEA_LANES 8
#define FOVEA_TARGET __attribute__((target("avx2,fma")))
#include "fovea/kernels/cpu/gradient_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
}  // namespace avx2

namespace avx512 {
#define FOVEA_LANES 16
#define FOVEA_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#include "fovea/kernels/cpu/gradient_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
}  // namespace avx512

namespace {

template <bool kSigmoid>
GradientKernels choose_gradient_kernels(Type type) {
  if (type == Type::bf16) return {avx512::weight_rows<true, kSigmoid>, avx512::score_rows<true, kSigmoid>};
  if (active_isa() >= Isa::avx512) {
    return {avx512::weight_rows<false, kSigmoid>, avx512::score_rows<false, kSigmoid>};
  }
  if (active_isa() >= Isa::avx2) {
    return {avx2::weight_rows<false, kSigmoid>, avx2::score_rows<false, kSigmoid>};
  }
  return {baseline::weight_rows<false, kSigmoid>, baseline::score_rows<false, kSigmoid>};
}

}  // namespace

GradientKernels gradient_kernels(Type type) { return choose_gradient_kernels<false>(type); }

GradientKernels sigmoid_gradient_kernels(Type type) { return choose_gradient_kernels<true>(type); }

}  // namespace fovea::kernels
