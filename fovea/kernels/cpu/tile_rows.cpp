#include "fovea/kernels/cpu/tile_rows.h"

#include <algorithm>

#include "fovea/core/isa.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/mods/simd.h"

namespace fovea::kernels {

#define FOVEA_ROWS "fovea/kernels/cpu/tile_rows.inl"
#include "fovea/kernels/cpu/each_isa.inl"

void scale_tile(const ScoreTile& tile, float factor) {
  for_active_isa(baseline::scale, avx2::scale, avx512::scale)(tile, factor);
}

void hide_columns(const ScoreTile& tile, int64_t inside) {
  if (inside < tile.columns) for_active_isa(baseline::hide, avx2::hide, avx512::hide)(tile, inside);
}

}  // namespace fovea::kernels
