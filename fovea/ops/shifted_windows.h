#pragma once
#include <cstdint>

#include "fovea/ops/attend.h"

namespace fovea {

/// A height and a width, in positions.
struct GridSize {
  int64_t height, width;
};

/// Which positions of a window were neighbours before the grid was rolled by -shift: attention within
/// windows, given as (batch windows, window.height window.width, D) with the windows of an entry row by row,
/// sees what came from one side of the seam. Query and key ids are one tensor, (batch windows, window.height
/// window.width) int32, on the CPU. An axis that is not shifted has no seam.
/// Throws fovea::Error (usage) unless the grid is a multiple of the window and 0 <= shift < window, 0 where
/// the window is the whole axis.   O(batch grid.height grid.width).   Source: Swin Transformer (Liu et al.
/// 2021), section 3.2, figure 4.
AttendSegments shifted_window_segments(int64_t batch, GridSize grid, GridSize window, GridSize shift);

}  // namespace fovea
