#pragma once
#include <cstdint>

#include "fovea/mods/tile_program.h"

namespace fovea::kernels {

/// Multiplies the scores of a tile.
void scale_tile(const ScoreTile& tile, float factor);

/// Hides the columns from `inside` on, which stand for no key: their scores become -inf.
void hide_columns(const ScoreTile& tile, int64_t inside);

}  // namespace fovea::kernels
