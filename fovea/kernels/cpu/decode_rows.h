#pragma once
#include <cstdint>

#include "fovea/kernels/attend_args.h"

// The two products of a decode step: of a few query rows with the rows of keys, and of their weights with the
// rows of values. Keys and values are read where they stand, each once for all query rows.

namespace fovea::kernels {

/// Rows of keys or values by their addresses, unit stride within.
struct RowList {
  const void* const* rows;
  int32_t count;
  /// As many rows that are wanted next; they are fetched meanwhile.
  const void* const* next;
};

/// Query rows, and sums of values, are float32 in the order in which a kernel loads its vectors; this many
/// numbers apart, 0 beyond the dim.
inline int64_t packed_width(int64_t dim) { return (dim + 31) / 32 * 32; }

/// scores (rows x keys, stride) = queries . keys. Columns up to the next multiple of 4 are written too; the
/// room ends there at the earliest.
struct DotRows {
  const float* q;
  int64_t rows, dim;
  RowList keys;
  float* scores;
  int64_t stride;
};

/// out (rows x packed_width(dim)) += weights (rows x values, stride) values.
struct SumRows {
  const float* weights;
  int64_t stride, rows, dim;
  RowList values;
  float* out;
};

struct DecodeKernels {
  void (*dot)(const DotRows&);
  void (*sum)(const SumRows&);
  /// `to` (packed) = factor * `from`.
  void (*pack)(const void* from, int64_t dim, float factor, float* to);
  /// `to` (dim, in order) = factor * `from` (packed).
  void (*unpack)(const float* from, int64_t dim, float factor, float* to);
};

/// For keys and values of the type, on the active instruction set.
DecodeKernels decode_kernels(Type type);

}  // namespace fovea::kernels
