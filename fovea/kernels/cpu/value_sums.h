#pragma once
#include <cstdint>

#include "fovea/kernels/cpu/pack.h"

namespace fovea::kernels {

/// Rows of weights and of values, float32, as they lie.
struct ValueSums {
  const float* weights;  // (rows, keys)
  int64_t weight_stride;
  Rows<float> values;  // (keys, dim), dim a multiple of 16
  int32_t rows;
  Factors factors = {};  // without by_dim
  bool add = false;      // the sums, to what `out` holds
};

/// out[r] = factor(r) ([out[r] +] sum_k weights[r, k] values[k]).
void sum_values(const ValueSums& sums, float* out, int64_t out_stride);

/// The same of weights that lie the other way round, (keys, rows).
void sum_values_by_columns(const ValueSums& sums, float* out, int64_t out_stride);

}  // namespace fovea::kernels
