#include <immintrin.h>

#include <algorithm>
#include <cmath>

#include "fovea/core/isa_target.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/one_pass_gradient.h"
#include "fovea/mods/simd.h"

namespace fovea::kernels {

// The even lanes of a vector of bfloat16 become its first half's numbers, the odd ones its second half's.
struct alignas(64) Interleaved {
  uint16_t lane[32] = {};

  constexpr Interleaved() {
    for (uint16_t l = 0; l < 32; ++l) lane[l] = static_cast<uint16_t>(l / 2 + l % 2 * 16);
  }
};
static constexpr Interleaved kInterleaved;

#define FOVEA_WITH_AMX
#define FOVEA_ROWS "fovea/kernels/cpu/amx_gradient.inl"
#include "fovea/kernels/cpu/each_isa.inl"

void gradient_in_one_pass(const GradientProducts<c10::BFloat16>& products,
                          const GradientBlock<c10::BFloat16>& to) {
  avx512::gradient(products, to);
}

}  // namespace fovea::kernels
