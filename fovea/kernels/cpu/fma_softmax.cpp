#include <immintrin.h>

#include <algorithm>
#include <cmath>

#include "fovea/core/isa.h"
#include "fovea/core/isa_target.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/lanes.h"
#include "fovea/kernels/cpu/one_pass_softmax.h"
#include "fovea/mods/simd.h"

namespace fovea::kernels {

#define FOVEA_ROWS "fovea/kernels/cpu/fma_softmax.inl"
#include "fovea/kernels/cpu/each_isa.inl"

bool softmax_in_one_pass(const ScoreProducts<float>& products, const WeightBlock<float>& to,
                         const SoftmaxState& state) {
  return for_active_isa(baseline::softmax, avx2::softmax, avx512::softmax)(products, to, state);
}

}  // namespace fovea::kernels
