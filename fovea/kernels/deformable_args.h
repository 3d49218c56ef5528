#pragma once
#include <cstdint>
#include <span>

#include "fovea/kernels/attend_args.h"

namespace fovea::kernels {

/// One map of a pyramid: its values are first ... first + rows * columns, row by row.
struct MapLevel {
  int64_t first, rows, columns;
};

/// A query samples `points` places of each level; dim is any, values below 2^29.
struct DeformableSizes {
  int64_t batch, heads, queries, values, points, dim;
};

struct DeformableForwardArgs {
  DeformableSizes n;
  std::span<const MapLevel> levels;
  /// Of values and result.
  Type type;
  Operand v;
  /// float32 rows: (x, y) of each level's points, finite, 0 ... 1 over the map; and their weights.
  Operand locations, weights;
  Output out;
};

/// out_i = sum_lp a_ilp v_l(x_ilp, y_ilp), bilinear between the centres of places, 0 beyond the map; sums in
/// float32. Deterministic, whatever the number of threads. O(B H N L P D) time, O(S D) memory a thread
/// at most.
/// Throws std::bad_alloc.   Source: Deformable DETR (Zhu et al. 2021), 4.1, equation 3.
void deformable_forward(const DeformableForwardArgs& args);

struct DeformableBackwardArgs {
  DeformableSizes n;
  std::span<const MapLevel> levels;
  Type type;
  Operand v, locations, weights, grad_out;
  /// grad_v of the values' type, the others float32, as locations and weights.
  Output grad_v, grad_locations, grad_weights;
};

/// Gradients of deformable_forward(). At the centre of a place the slope is that towards the larger
/// coordinate. Heads of the batch are the tasks of threads. O(B H (N L P + S) D) time, O(S D) memory a
/// thread. Throws std::bad_alloc.
void deformable_backward(const DeformableBackwardArgs& args);

}  // namespace fovea::kernels
