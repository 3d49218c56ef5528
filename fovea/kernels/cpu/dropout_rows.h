#pragma once
#include <cstdint>

#include "fovea/kernels/attend_args.h"

namespace fovea::kernels {

/// Which weights of a tile stay: bit c % 16 of word r * columns / 16 + c / 16, whose `columns` is a multiple
/// of 16 and whose first query is one of 16.
struct DropoutKernels {
  /// Rows are queries, or keys (transposed); of the tile only positions and sizes are read.
  void (*plain)(const Dropout&, const ScoreTile&, uint16_t* kept);
  void (*transposed)(const Dropout&, const ScoreTile&, uint16_t* kept);
  /// to[i] = kept ? from[i] factor : 0, for the bits of `count` / 16 words; may be in place.
  void (*apply)(const float* from, float* to, const uint16_t* kept, int64_t count, float factor);
  /// The same in place for 16-bit numbers, without a factor.
  void (*apply_narrow)(void* numbers, const uint16_t* kept, int64_t count);
};

/// For the active instruction set.
DropoutKernels dropout_kernels();

}  // namespace fovea::kernels
