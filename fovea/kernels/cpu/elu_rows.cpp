#include "fovea/kernels/cpu/elu_rows.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <immintrin.h>

#include "fovea/core/isa.h"
#include "fovea/mods/simd.h"

// g++ 12 takes the undefined parts of its own AVX-512 intrinsics for a mistake (its bug 105593).
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace fovea::kernels {
namespace {

#define FOVEA_ROWS "fovea/kernels/cpu/elu_rows.inl"
#include "fovea/kernels/cpu/each_isa.inl"

}  // namespace

void elu_rows(const Rows<float>& rows, float* out, int64_t stride) {
  for_active_isa(baseline::elu_of_rows, avx2::elu_of_rows, avx512::elu_of_rows)(rows, out, stride);
}

void elu_gradients(const Rows<float>& grads, const Rows<float>& rows, float* out, int64_t stride) {
  for_active_isa(baseline::elu_gradients_of_rows, avx2::elu_gradients_of_rows, avx512::elu_gradients_of_rows)(
      grads, rows, out, stride);
}

}  // namespace fovea::kernels
