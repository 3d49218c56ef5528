#pragma once
#include <cstdint>

#include "fovea/kernels/cpu/top_list.h"

namespace fovea::kernels {

/// What one row of a tile is asked; columns are a multiple of 16.
struct ObserveKernels {
  /// row = 2^(factor s - lse), lse in units of log2; returns the sum of row * log2(row).
  float (*weights)(float* row, int32_t columns, float factor, float lse);
  /// The sum of row[c] |first + c|.
  float (*distance)(const float* row, int32_t columns, int32_t first);
  /// sums += row.
  void (*add)(float* sums, const float* row, int32_t columns);
  /// Puts what is larger than the least of the list into it; row[c] belongs to the key first + c.
  void (*top)(const float* row, int32_t columns, int64_t first, const TopList& list);
};

/// For the active instruction set.
ObserveKernels observe_kernels();

}  // namespace fovea::kernels
