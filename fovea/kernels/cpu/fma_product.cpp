#include <immintrin.h>

#include <algorithm>

#include "fovea/core/isa.h"
#include "fovea/core/isa_target.h"
#include "fovea/kernels/cpu/one_pass.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/tile_product.h"
#include "fovea/mods/simd.h"

namespace fovea::kernels {

#define FOVEA_ROWS "fovea/kernels/cpu/fma_product.inl"
#include "fovea/kernels/cpu/each_isa.inl"

void multiply(const ProductOperands<float>& operands, const ProductTile& to) { multiply(operands, 1.0f, to); }

void multiply(const ProductOperands<float>& operands, float factor, const ProductTile& to) {
  for_active_isa(baseline::product, avx2::product, avx512::product)(operands, factor, to);
}

void multiply(const ProductOperands<c10::BFloat16>& p, const ProductTile& to) {
  const TileProduct product{to.rows, to.columns, p.dim, p.dim, p.b_stride, to.stride, /*add=*/false};
  product(p.a, p.b, to.products);
}

}  // namespace fovea::kernels
