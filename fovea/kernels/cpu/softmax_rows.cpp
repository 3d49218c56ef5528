#include "fovea/kernels/cpu/softmax_rows.h"

#include <immintrin.h>

#include <cmath>
#include <limits>

#include "fovea/mods/simd.h"

namespace fovea::kernels {
namespace {
constexpr float kInfinity = std::numeric_limits<float>::infinity();
}

namespace baseline {
#define FOVEA_LANES 4
#define FOVEA_TARGET
#define FOVEA_STORE_BF16(to, from) (void)(to), (void)(from)
#include "fovea/kernels/cpu/softmax_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_STORE_BF16
}  // namespace baseline

namespace avx2 {
#define FOVEA_LANES 8
#define FOVEA_TARGET __attribute__((target("avx2,fma")))
#define FOVEA_STORE_BF16(to, from) (void)(to), (void)(from)
#include "fovea/kernels/cpu/softmax_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_STORE_BF16
}  // namespace avx2

namespace avx512 {
#define FOVEA_LANES 16
#define FOVEA_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512bf16")))
#define FOVEA_STORE_BF16(to, from) \
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps((from).x)))
#include "fovea/kernels/cpu/softmax_rows.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_STORE_BF16
}  // namespace avx512

SoftmaxKernels softmax_kernels(Type type) {
  if (type == Type::bf16) return {avx512::softmax_rows<true>, avx512::rescale_rows};
  if (active_isa() >= Isa::avx512) return {avx512::softmax_rows<false>, avx512::rescale_rows};
  if (active_isa() >= Isa::avx2) return {avx2::softmax_rows<false>, avx2::rescale_rows};
  return {baseline::softmax_rows<false>, baseline::rescale_rows};
}

SoftmaxKernels sigmoid_kernels(Type type) {
  if (type == Type::bf16) return {avx512::sigmoid_rows<true>, avx512::rescale_rows};
  if (active_isa() >= Isa::avx512) return {avx512::sigmoid_rows<false>, avx512::rescale_rows};
  if (active_isa() >= Isa::avx2) return {avx2::sigmoid_rows<false>, avx2::rescale_rows};
  return {baseline::sigmoid_rows<false>, baseline::rescale_rows};
}

}  // namespace fovea::kernels
