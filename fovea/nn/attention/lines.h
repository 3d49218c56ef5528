#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "fovea/nn/attention/attention.h"

namespace fovea::nn {

enum class GridAxis { rows, columns };

/// The rows of a grid, or its columns, as sequences of their own: L lines of T places. Tokens before the grid
/// stand at the start of the keys of every line, and are no queries of any. Views where strides let them be,
/// as of one batch entry; otherwise copies.
class GridLines {
 public:
  GridLines(const GridPositions& grid, GridAxis axis) : grid_(grid), axis_(axis) {}

  GridAxis axis() const { return axis_; }
  int64_t count() const { return axis_ == GridAxis::rows ? grid_.rows : grid_.columns; }
  int64_t length() const { return axis_ == GridAxis::rows ? grid_.columns : grid_.rows; }

  /// (B, H, N, D) -> (B L, H, T, D)
  at::Tensor queries(const at::Tensor& t) const;
  /// (B, H, N, D) -> (B L, H, prefix + T, D)
  at::Tensor keys(const at::Tensor& t) const;
  /// Back again: (B L, H, T, D) -> (B, H, rows columns, D)
  at::Tensor join(const at::Tensor& lines, int64_t batch) const;

  /// What broadcasts to (B, H, N, N), such as a mask -> what broadcasts to (B L, H, T, prefix + T)
  at::Tensor pairs(const at::Tensor& t, int64_t batch) const;
  /// Back again, with 0 for pairs that share no line: (B L, H, T, prefix + T) -> (B, H, rows columns, N)
  at::Tensor spread(const at::Tensor& pairs, int64_t batch) const;
  /// How many keys of each line stand among the first of the sequence: (B) -> (B L)
  at::Tensor key_lengths(const at::Tensor& lengths) const;

 private:
  int64_t places() const { return grid_.rows * grid_.columns; }
  at::Tensor split(const at::Tensor& places) const;
  at::Tensor same_line(const at::Tensor& pairs) const;

  GridPositions grid_;
  GridAxis axis_;
};

}  // namespace fovea::nn
