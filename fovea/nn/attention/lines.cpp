#include "fovea/nn/attention/lines.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace fovea::nn {

// (B, H, rows columns, D) -> (B L, H, T, D)
at::Tensor GridLines::split(const at::Tensor& places) const {
  const at::Tensor grid = places.unflatten(2, {grid_.rows, grid_.columns});
  return (axis_ == GridAxis::rows ? grid : grid.transpose(2, 3)).transpose(1, 2).flatten(0, 1);
}

// A view (B, H, rows columns, rows columns) -> (B, L, H, T, T).
at::Tensor GridLines::same_line(const at::Tensor& pairs) const {
  const at::Tensor by_place =
      pairs.unflatten(3, {grid_.rows, grid_.columns}).unflatten(2, {grid_.rows, grid_.columns});
  const int64_t line = axis_ == GridAxis::rows ? 2 : 3;
  return by_place.diagonal(0, line, line + 2).movedim(-1, 1);
}

at::Tensor GridLines::queries(const at::Tensor& t) const {
  return split(t.narrow(2, grid_.prefix, places()));
}

at::Tensor GridLines::keys(const at::Tensor& t) const {
  if (grid_.prefix == 0) return queries(t);
  return at::cat({t.narrow(2, 0, grid_.prefix).repeat_interleave(count(), 0), queries(t)}, 2);
}

at::Tensor GridLines::join(const at::Tensor& lines, int64_t batch) const {
  const at::Tensor grid = lines.unflatten(0, {batch, count()}).transpose(1, 2);
  return (axis_ == GridAxis::rows ? grid : grid.transpose(2, 3)).flatten(2, 3);
}

at::Tensor GridLines::pairs(const at::Tensor& t, int64_t batch) const {
  const int64_t prefix = grid_.prefix, all = grid_.length();
  at::Tensor whole = t;
  while (whole.dim() < 4) whole = whole.unsqueeze(0);
  whole = whole.expand({batch, whole.size(1), all, all}).narrow(2, prefix, places());
  const at::Tensor lines = same_line(whole.narrow(3, prefix, places())).flatten(0, 1);
  return prefix == 0 ? lines : at::cat({split(whole.narrow(3, 0, prefix)), lines}, 3);
}

at::Tensor GridLines::spread(const at::Tensor& pairs, int64_t batch) const {
  const int64_t prefix = grid_.prefix;
  at::Tensor all = at::zeros({batch, pairs.size(1), places(), grid_.length()}, pairs.options());
  all.narrow(3, 0, prefix).copy_(join(pairs.narrow(3, 0, prefix), batch));
  same_line(all.narrow(3, prefix, places()))
      .copy_(pairs.narrow(3, prefix, length()).unflatten(0, {batch, count()}));
  return all;
}

at::Tensor GridLines::key_lengths(const at::Tensor& lengths) const {
  const at::Tensor known = lengths.to(at::kLong).unsqueeze(1), seen = (known - grid_.prefix).clamp_min(0);
  const at::Tensor line = at::arange(count(), known.options());
  // A row begins behind those before it; of a column each row has one place.
  const at::Tensor in_line = axis_ == GridAxis::rows
                                 ? seen - line * length()
                                 : (seen - line + (count() - 1)).floor_divide(std::max<int64_t>(count(), 1));
  return (known.clamp(0, grid_.prefix) + in_line.clamp(0, length())).flatten();
}

}  // namespace fovea::nn
