#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "fovea/nn/layers.h"
#include "fovea/ops/deformable_attend.h"

// Where the queries of deformable attention look: a reference of their own, and learned offsets from it.

namespace fovea::nn {

/// (H, L, P, 2): offsets in places before any training. Head h looks in the direction 2 pi h / H, its point p
/// so many places and one away along the larger coordinate.   Source: Deformable DETR (Zhu et al. 2021), A.3
/// (initialisation), as its authors' code has it.
at::Tensor star_offsets(int64_t heads, int64_t levels, int64_t points);

/// The same along a sequence: heads look right and left by turns.
at::Tensor line_offsets(int64_t heads, int64_t levels, int64_t points);

/// Before any training: these offsets (H, L, P, 2) and equal weights, whatever the query.
void start_points(Linear& sampling_offsets, Linear& attention_weights, const at::Tensor& offsets);

/// Softmax over all points of a query and head, of levels as one: (B, N, H L P) -> (B, H, N, L, P).
at::Tensor point_weights(const at::Tensor& scores, int64_t heads, int64_t levels);

/// reference (B, N, L, 2) in 0 ... 1, or (B, N, L, 4) with width and height, and offsets (B, N, H, L, P, 2)
/// -> locations (B, H, N, L, P, 2), of float32 at least. Offsets are places of each map; from a box, halves
/// of its sides, P of them.   Source: Zhu et al. 2021, 4.1 and A.4.
at::Tensor sampling_locations(const at::Tensor& reference, const at::Tensor& offsets,
                              const std::vector<MapShape>& maps);

}  // namespace fovea::nn
