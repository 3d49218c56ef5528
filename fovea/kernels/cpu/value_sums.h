#pragma once
#include <cstdint>

#include "fovea/kernels/cpu/pack.h"

namespace fovea::kernels {

/// Rows of weights and of values, float32, as they lie.
struct ValueSums {
  const float* weights;  // (rows, keys)
  int64_t weight_stride;
  Rows<float> values;   // (keys, dim)
  const float* by_row;  // (rows): the sums are multiplied with
  int32_t rows;
};

/// out[r] = by_row[r] sum_k weights[r, k] values[k]; dim a multiple of 16.
void sum_values(const ValueSums& sums, float* out, int64_t out_stride);

}  // namespace fovea::kernels
