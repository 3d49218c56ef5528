#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace fovea {

/// Places of one map; a sequence is a map of one row.
struct MapShape {
  int64_t rows = 1, columns = 1;
};

/// Deformable attention: each query reads a few points between the places of one or several maps.
///   out_i = sum_lp a_ilp v_l(x_ilp, y_ilp), v_l(x, y) bilinear between the centres of places, 0 beyond the
///   map
/// v (B, H, S, D): the maps behind each other, S = sum_l rows_l columns_l, row by row; locations (B, H, N, L,
/// P, 2): x, then y, 0 ... 1 from edge to edge of map l, beyond it too, finite; weights a (B, H, N, L, P),
/// any numbers; -> (B, H, N, D). Gradients of all three; at the centre of a place the slope by a location is
/// that towards larger coordinates. Sums in float32; fused on the CPU for float32, bfloat16 and float16,
/// otherwise by operations on tensors; FOVEA_VERBOSE=dispatch says which. Throws fovea::Error (usage) on
/// shapes, types, devices, maps that do not sum to S, or locations that are not finite. O(B H N L P D) time;
/// fused O(1) memory beside operands and results, backward O(S D) a thread.   Source: Deformable DETR (Zhu et
/// al. 2021), 4.1, equation 3; torch's grid_sample with zeros and align_corners=False has the same edges.
at::Tensor deformable_attend(const at::Tensor& v, const std::vector<MapShape>& maps,
                             const at::Tensor& locations, const at::Tensor& weights);

/// Why the fused kernel does not run a call that fits.
std::optional<std::string_view> why_not_deformable_fused(const at::Tensor& v, const at::Tensor& locations,
                                                         const at::Tensor& weights);

}  // namespace fovea
