#include <immintrin.h>

#include <algorithm>
#include <cmath>

#include "fovea/core/isa.h"
#include "fovea/core/isa_target.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/lanes.h"
#include "fovea/kernels/cpu/one_pass_softmax.h"
#include "fovea/mods/simd.h"

namespace fovea::kernels {

#define FOVEA_WITH_AMX
#define FOVEA_ROWS "fovea/kernels/cpu/amx_softmax.inl"
#include "fovea/kernels/cpu/each_isa.inl"

bool softmax_in_one_pass(const ScoreProducts<c10::BFloat16>& products, const WeightBlock<c10::BFloat16>& to,
                         const SoftmaxState& state) {
  return avx512::softmax(products, to, state);
}

}  // namespace fovea::kernels
