#include "fovea/ops/table_functors.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>

#include "fovea/ops/finite.h"

namespace fovea {
namespace {

// Kernels run on the CPU only.
Table<float> kernel_table(const at::Tensor& values) {
  if (!values.is_cpu()) return {};
  return float_table(values.detach().to(at::kFloat).flatten().contiguous());
}

// Of positions counted row by row: differences of these tell differences of rows and columns.
at::Tensor grid_places(int64_t height, int64_t width) {
  const at::Tensor rows = at::arange(height, at::kInt).unsqueeze(1) * (2 * width - 1);
  return (rows + at::arange(width, at::kInt)).to(at::kInt).flatten().contiguous();
}

// The entry of a position and itself.
int64_t grid_centre(int64_t height, int64_t width) { return (height - 1) * (2 * width - 1) + width - 1; }

ByPlace by_place(const at::Tensor& table, int64_t height, int64_t width) {
  return {kernel_table(table), int_table(grid_places(height, width)),
          static_cast<int32_t>(table.size(0) == 1 ? 0 : table.size(1)),
          static_cast<int32_t>(grid_centre(height, width))};
}

}  // namespace

// By gather(), whose gradient adds up each head's entries in their order.
at::Tensor grid_bias(const at::Tensor& table, int64_t height, int64_t width) {
  const int64_t n = height * width;
  const at::Tensor places = grid_places(height, width).to(table.device(), at::kLong);
  const at::Tensor entries = places.unsqueeze(1) - places.unsqueeze(0) + grid_centre(height, width);
  return table.gather(1, entries.view({1, n * n}).expand({table.size(0), -1})).view({1, -1, n, n});
}

HeadFactorFunctors::HeadFactorFunctors(const at::Tensor& factors)
    : factors_(factors), functors_{HeadFactor{kernel_table(factors)}, All{}} {}

at::Tensor HeadFactorFunctors::score(const at::Tensor& scores, const TensorAt&) const {
  return finite_product(scores, factors_.to(scores.scalar_type()).view({1, -1, 1, 1}));
}

at::Tensor HeadFactorFunctors::make_sums(int64_t chunks, int64_t heads) const {
  return make_table_sums(factors_, chunks, heads);
}

at::Tensor HeadFactorFunctors::gradient(const at::Tensor& sums) const {
  return table_gradient(sums).to(factors_.scalar_type());
}

GridFunctors::GridFunctors(const at::Tensor& table, int64_t height, int64_t width)
    : table_(table), functors_{by_place(table, height, width), All{}} {}

at::Tensor GridFunctors::score(const at::Tensor& scores, const TensorAt& at) const {
  const ByPlace& grid = functors_.score;
  const at::Tensor difference = load(grid.places, at.q) - load(grid.places, at.k) + grid.centre;  // (N, M)
  const at::Tensor entries = difference.to(table_.device()).flatten();
  return scores + table_.index_select(1, entries)
                      .view({1, -1, difference.size(0), difference.size(1)})
                      .to(scores.scalar_type());
}

// Heads with numbers of their own never meet in an entry, so that one row of sums serves all of them.
at::Tensor GridFunctors::make_sums(int64_t chunks, int64_t heads) const {
  if (shared()) return make_table_sums(table_, chunks, heads);
  return at::zeros({chunks, 1, table_.numel(), TableSums::kLanes}, at::kFloat).expand({-1, heads, -1, -1});
}

at::Tensor GridFunctors::gradient(const at::Tensor& sums) const {
  const at::Tensor entries = shared() ? table_gradient(sums) : table_gradient(sums.narrow(1, 0, 1));
  return entries.view(table_.sizes()).to(table_.scalar_type());
}

}  // namespace fovea
