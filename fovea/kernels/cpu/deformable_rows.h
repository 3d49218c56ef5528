#pragma once
#include <cstdint>

#include "fovea/kernels/attend_args.h"

// What deformable attention does for one query: finds the four places around each point, sums their values,
// and the way back.

namespace fovea::kernels {

/// The map of each of a query's points, as floats for vectors; arrays end at a multiple of 16, behind the
/// points in maps of one place.
struct PointMaps {
  int64_t points;
  const float *columns, *rows;
  const int32_t *first, *width, *height;
};

/// Around each point: upper left, upper right, lower left, lower right.
struct Corners {
  /// -1, and 0 beyond the map, where `place` is the nearest within.
  int32_t *inside[4], *place[4];
  /// From the upper left place, 0 ... 1.
  float *x, *y;
  /// Part of each corner in the result, the point's weight included; 0 beyond the map, if another corner is
  /// within.
  float* share[4];
};

/// Rows of values that places count.
struct ValueRows {
  const void* data;
  int64_t stride, dim;
};

/// Arrays of a query's points, as PointMaps'. `dot` is what DeformableKernels::scatter found.
struct PointSlopes {
  const float* weights;
  const float* dot[4];
  float *grad_weights, *grad_locations;
};

struct DeformableKernels {
  /// locations: (x, y) of each point. Whether a point lies wholly beyond its map.
  bool (*corners)(const PointMaps&, const float* locations, const float* weights, const Corners&);
  /// out (dim) = sum of share * value; the second where points lie wholly beyond.
  void (*gather)(const Corners&, int64_t points, const ValueRows&, void* out);
  void (*gather_beyond)(const Corners&, int64_t points, const ValueRows&, void* out);
  /// grad_v (places x dim, float32) += share * grad_out (dim, float32); dot = grad_out . value, 0 beyond.
  void (*scatter)(const Corners&, int64_t points, const ValueRows&, const float* grad_out, float* grad_v,
                  float* const* dot);
  void (*slopes)(const PointMaps&, const Corners&, const PointSlopes&);
  /// Numbers of the type to float32 and back.
  void (*widen)(const void* from, int64_t count, float* to);
  void (*narrow)(const float* from, int64_t count, void* to);
};

/// For values of the type, on the active instruction set.
DeformableKernels deformable_kernels(Type type);

}  // namespace fovea::kernels
