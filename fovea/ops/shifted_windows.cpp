#include "fovea/ops/shifted_windows.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>

#include <string>

#include "fovea/core/error.h"
#include "fovea/ops/describe.h"

namespace fovea {
namespace {

void check_axis(int64_t grid, int64_t window, int64_t shift, const char* axis) {
  const bool tiles = window >= 1 && grid >= window && grid % window == 0;
  if (tiles && shift >= 0 && (shift == 0 || (shift < window && window < grid))) return;
  throw usage_error(
      "shifted_window_segments",
      "a grid must be a multiple of the window, and the shift in [0, window), 0 where the window "
      "is all of it",
      describe_shape({grid, window, shift}) + " as grid, window and shift of the " + axis,
      "Pad the grid, and leave out the shift of a single window.");
}

// 0 before the last window of the shifted axis, which holds what comes before the seam, 1, and after it, 2.
at::Tensor parts(int64_t grid, int64_t window, int64_t shift) {
  if (shift == 0) return at::zeros({grid}, at::kInt);
  const at::Tensor position = at::arange(grid, at::kInt);
  return (position >= grid - window).to(at::kInt) + (position >= grid - shift).to(at::kInt);
}

}  // namespace

AttendSegments shifted_window_segments(int64_t batch, GridSize grid, GridSize window, GridSize shift) {
  check_axis(grid.height, window.height, shift.height, "height");
  check_axis(grid.width, window.width, shift.width, "width");
  const at::Tensor rows = parts(grid.height, window.height, shift.height),
                   columns = parts(grid.width, window.width, shift.width);
  const at::Tensor ids =
      (rows.unsqueeze(1) * 3 + columns)
          .view({grid.height / window.height, window.height, grid.width / window.width, window.width})
          .transpose(1, 2)
          .reshape({-1, window.height * window.width})
          .repeat({batch, 1});
  return {ids, ids};
}

}  // namespace fovea
