#include "fovea/nn/attention/deformable.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/meshgrid.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include <utility>

#include "fovea/core/error.h"
#include "fovea/nn/attention/sampling_points.h"
#include "fovea/ops/operands.h"

namespace fovea::nn {
namespace {

AttentionKind on_a_grid(AttentionKind kind, bool grid) {
  kind.traits.needs_2d = grid;
  return kind;
}

MapShape halved(const MapShape& map) { return {(map.rows + 1) / 2, (map.columns + 1) / 2}; }

// The map (B, H, S, D) and its means, behind each other. A half of a place at the edge counts as it is.
at::Tensor pyramid(const at::Tensor& v, const std::vector<MapShape>& maps) {
  std::vector<at::Tensor> levels = {v};
  at::Tensor image = v.flatten(0, 1).transpose(1, 2).unflatten(2, {maps[0].rows, maps[0].columns});
  for (size_t l = 1; l < maps.size(); ++l) {
    const int64_t high = maps[l - 1].rows > 1 ? 2 : 1, wide = maps[l - 1].columns > 1 ? 2 : 1;
    image = at::avg_pool2d(image, {high, wide}, {high, wide}, {0, 0}, /*ceil_mode=*/true,
                           /*count_include_pad=*/false);
    levels.push_back(image.flatten(2).transpose(1, 2).unflatten(0, {v.size(0), v.size(1)}));
  }
  return levels.size() == 1 ? v : at::cat(levels, 2);
}

// Centres of places, (N, 2), and the middle of the map for each token before them.
at::Tensor centres(const MapShape& map, int64_t prefix, const at::TensorOptions& type) {
  const auto axis = [&](int64_t size) { return (at::arange(size, type) + 0.5) / static_cast<double>(size); };
  const auto places = at::meshgrid({axis(map.rows), axis(map.columns)}, "ij");
  const at::Tensor all = at::stack({places[1].flatten(), places[0].flatten()}, -1);
  return prefix == 0 ? all : at::cat({at::full({prefix, 2}, 0.5, type), all});
}

}  // namespace

void DeformableOptions::check(const std::string& where) const {
  if (points > kMostPoints || levels > kMostLevels) {
    throw usage_error(where,
                      "points must be at most " + std::to_string(kMostPoints) + ", levels at most " +
                          std::to_string(kMostLevels),
                      std::to_string(points) + " points, " + std::to_string(levels) + " levels",
                      "The paper has 4 of each.");
  }
}

DeformableAttention::DeformableAttention(const AttentionKind& kind, const AttentionShape& shape,
                                         const DeformableOptions& options)
    : Attention(on_a_grid(kind, options.places == DeformableOptions::Places::grid), shape),
      options_(options) {
  const int64_t heads = shape.heads, levels = options.levels, points = options.points,
                count = heads * levels * points;
  sampling_offsets = register_module("sampling_offsets", Linear(shape.width, count * 2));
  attention_weights = register_module("attention_weights", Linear(shape.width, count));
  const bool grid = options.places == DeformableOptions::Places::grid;
  start_points(sampling_offsets, attention_weights,
               grid ? star_offsets(heads, levels, points) : line_offsets(heads, levels, points));
}

AttentionOutput DeformableAttention::run(const AttentionInput& input) {
  const auto& [points, levels, places] = options_;
  const bool grid = places == DeformableOptions::Places::grid;
  const int64_t heads = shape().heads;
  if (input.v.size(2) == 0) return {with_heads(input.v, heads), {}, {}};
  const int64_t prefix = grid ? input.grid->prefix : 0;
  std::vector<MapShape> maps = {grid ? MapShape{input.grid->rows, input.grid->columns}
                                     : MapShape{1, input.v.size(2)}};
  while (static_cast<int64_t>(maps.size()) < levels) maps.push_back(halved(maps.back()));
  at::Tensor offsets = widened(sampling_offsets->forward(input.x)).unflatten(2, {heads, levels, points, 2});
  // A sequence has no second axis to leave it along.
  if (!grid) {
    const at::Tensor along = offsets.narrow(-1, 0, 1);
    offsets = at::cat({along, at::zeros_like(along)}, -1);
  }
  const at::Tensor reference = centres(maps[0], prefix, offsets.options().requires_grad(false))
                                   .view({1, -1, 1, 2})
                                   .expand({input.x.size(0), -1, levels, -1});
  const at::Tensor weights = point_weights(attention_weights->forward(input.x), heads, levels);
  const at::Tensor values = with_heads(input.v.narrow(2, prefix, input.v.size(2) - prefix), heads);
  AttentionOutput result;
  result.out =
      deformable_attend(pyramid(values, maps), maps, sampling_locations(reference, offsets, maps), weights);
  return result;
}

AttentionCost DeformableAttention::cost(int64_t n, int64_t /*m*/, int64_t d) const {
  const int64_t points = options_.levels * options_.points;
  return {n * points * (4 * d + 3 * shape().width), 6 * n * points * kFloatBytes};
}

AttentionEntry deformable_attention() {
  return attention_entry<DeformableAttention>(
      {"deformable", "sum_lp a_ilp v_l(centre_i + offset_ilp), a and offsets linear in x_i, v_l bilinear",
       "Zhu et al. 2021, 4.1", "O(N L P D) time, O(N L P) memory", "fused"},
      {.causal_ok = false,
       .supports_cross = false,
       .needs_2d = true,
       .needs_x = true,
       .takes_masks = false,
       .takes_biases = false,
       .takes_lengths = false,
       .gives_weights = false,
       .observes = false,
       .reads_queries_and_keys = false,
       .takes_packed = false},
      DeformableOptions{});
}

}  // namespace fovea::nn
