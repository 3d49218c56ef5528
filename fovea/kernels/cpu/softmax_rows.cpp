#include "fovea/kernels/cpu/softmax_rows.h"

#include <immintrin.h>

#include <cmath>

#include "fovea/core/isa.h"
#include "fovea/core/isa_target.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/lanes.h"
#include "fovea/mods/simd.h"

namespace fovea::kernels {

// Weights as bfloat16; only of avx512, see has_bf16_products().
namespace baseline {
static inline void store_bf16(uint16_t*, simd::Floats<4>) {}
}  // namespace baseline
namespace avx2 {
static inline void store_bf16(uint16_t*, simd::Floats<8>) {}
}  // namespace avx2
namespace avx512 {
FOVEA_TARGET_AVX512_BF16 static inline void store_bf16(uint16_t* to, simd::Floats<16> from) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from.x)));
}
}  // namespace avx512

#define FOVEA_WITH_BF16
#define FOVEA_ROWS "fovea/kernels/cpu/softmax_rows.inl"
#include "fovea/kernels/cpu/each_isa.inl"

SoftmaxKernels softmax_kernels(Type type) {
  return for_active_isa(baseline::softmax, avx2::softmax, avx512::softmax)(type);
}

SoftmaxKernels sigmoid_kernels(Type type) {
  return for_active_isa(baseline::sigmoid, avx2::sigmoid, avx512::sigmoid)(type);
}

}  // namespace fovea::kernels
