#include "fovea/kernels/cpu/tile_product.h"

#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <cstdlib>

#include "fovea/core/isa.h"

namespace fovea::kernels {
namespace {

// oneDNN chooses its instruction set at its first use in a process, and listens to this variable only then.
// A user's own setting stays.
bool bound_onednn() {
  const char* forced = std::getenv("FOVEA_ISA");
  if (!forced || !*forced) return true;
  constexpr const char* kNames[] = {"SSE41", "AVX2", "AVX512_CORE", "AVX512_CORE_BF16", "AVX512_CORE_AMX"};
  return setenv("ONEDNN_MAX_CPU_ISA", kNames[static_cast<int>(active_isa())], /*overwrite=*/0) == 0;
}

// The order of its sums does not depend on m or n.
void plain_product(const TileProduct& p, const float* a, const float* b, float* c) {
  for (int64_t i = 0; i < p.m; ++i) {
    float* row = c + i * p.ldc;
    if (!p.add) std::fill(row, row + p.n, 0.0f);
    for (int64_t l = 0; l < p.k; ++l) {
      const float factor = a[i * p.lda + l];
      for (int64_t j = 0; j < p.n; ++j) row[j] += factor * b[l * p.ldb + j];
    }
  }
}

}  // namespace

void TileProduct::operator()(const float* a, const float* b, float* c) const {
  static const bool bounded = bound_onednn();
  if (active_isa() < Isa::avx2 || !bounded) return plain_product(*this, a, b, c);
  at::native::cpublas::brgemm(m, n, k, lda, ldb, ldc, add, a, b, c, /*is_vnni=*/false);
}

void TileProduct::operator()(const c10::BFloat16* a, const c10::BFloat16* b, float* c) const {
  static const bool bounded = bound_onednn();
  (void)bounded;
  at::native::cpublas::brgemm(m, n, k, lda, ldb, ldc, add, a, b, c, /*is_vnni=*/true);
}

TileProductScope::TileProductScope() { active_isa(); }

TileProductScope::~TileProductScope() {
  if (active_isa() >= Isa::avx2) at::native::cpublas::brgemm_release(has_bf16_products());
}

}  // namespace fovea::kernels
