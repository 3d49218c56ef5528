#include "fovea/nn/position/swin.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/zeros.h>

#include <utility>

#include "fovea/nn/init.h"

namespace fovea::nn {

SwinPosition::SwinPosition(PositionKind kind, const PositionShape& shape, const SwinOptions&)
    : Position(std::move(kind), shape) {
  relative_position_bias_table =
      register_parameter("relative_position_bias_table",
                         at::zeros({(2 * grid().rows - 1) * (2 * grid().columns - 1), shape.heads}));
  trunc_normal_(relative_position_bias_table, 0.02);
}

at::Tensor SwinPosition::of_pairs() const {
  const int64_t rows = grid().rows, columns = grid().columns, places = rows * columns;
  const at::Tensor place =
      at::arange(places, relative_position_bias_table.options().dtype(at::kLong).requires_grad(false));
  const at::Tensor y = place.div(columns, "floor"), x = place.remainder(columns);
  const at::Tensor entry =
      (y.unsqueeze(1) - y + rows - 1) * (2 * columns - 1) + x.unsqueeze(1) - x + columns - 1;
  const at::Tensor biases = relative_position_bias_table.index_select(0, entry.flatten());
  return at::constant_pad_nd(biases.t().unflatten(1, {places, places}), {grid().prefix, 0, grid().prefix, 0});
}

void SwinPosition::place(AttentionInput& input) const {
  if (input.call.relative_grid) {
    refuse("a table of the grid is given once", "relative_grid of the call", "Leave it out.");
  }
  if (grid().prefix == 0) {
    input.call.relative_grid = AttendGrid{relative_position_bias_table.t(), grid().rows, grid().columns};
    return;
  }
  const at::Tensor own = of_pairs();
  input.call.bias = input.call.bias ? *input.call.bias + own : own;
}

PositionEntry swin_position() {
  return position_entry<SwinPosition>({"swin", "s_ij + relative_position_bias_table[y_i - y_j, x_i - x_j, h]",
                                       "Liu et al. 2021, 3.2", "no: the table is of one grid"},
                                      {.place = PositionPlace::scores, .needs_2d = true, .per_layer = true},
                                      SwinOptions{});
}

}  // namespace fovea::nn
