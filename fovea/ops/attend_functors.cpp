#include "fovea/ops/attend_functors.h"

#include <ATen/ops/zeros.h>

#include "fovea/core/error.h"
#include "fovea/ops/describe.h"

namespace fovea {
namespace {

template <class T>
Table<T> make_table(const at::Tensor& values, at::ScalarType type) {
  if (values.scalar_type() != type || values.dim() != 1 || !values.is_contiguous() ||
      !values.device().is_cpu()) {
    throw usage_error(
        "table",
        "a table must be a contiguous 1-D tensor of " + std::string(c10::toString(type)) + " on the CPU",
        describe(values), "Convert it with .to(type).flatten().contiguous().");
  }
  return {static_cast<const T*>(values.const_data_ptr()), values.numel(),
          std::make_shared<at::Tensor>(values)};
}

template <class T>
const at::Tensor& values_of(const Table<T>& table) {
  return *static_cast<const at::Tensor*>(table.owner.get());
}

template <class T>
at::Tensor select(const Table<T>& table, const at::Tensor& index) {
  const auto& values = values_of(table);
  return values.to(index.device()).index_select(0, index.flatten()).view(index.sizes());
}

// Of sums: as many as there are where an entry is shared, otherwise one for all.
int64_t rows_of_sums(const at::Tensor& table, int64_t dim, int64_t count) {
  return table.size(dim) == 1 ? count : 1;
}

}  // namespace

at::Tensor AttendFunctors::make_sums(int64_t, int64_t) const { return {}; }
at::Tensor AttendFunctors::gradient(const at::Tensor&) const { return {}; }

bool AttendFunctors::needs_definition() const {
  if (learned().defined()) return false;
  const at::Tensor zero = at::zeros({1, 1, 1, 1}), origin = at::zeros({1, 1, 1, 1}, at::kLong);
  return score(zero, {origin, origin, origin, origin}).requires_grad();
}

at::Tensor AttendFunctors::make_table_sums(const at::Tensor& table, int64_t chunks, int64_t heads) {
  return at::zeros({chunks, heads, table.numel(), TableSums::kLanes}, at::kFloat);
}

at::Tensor AttendFunctors::table_gradient(const at::Tensor& sums) { return sums.sum({0, 1, 3}); }

at::Tensor AttendFunctors::make_own_sums(const at::Tensor& table, int64_t chunks, int64_t heads) {
  return make_table_sums(table, rows_of_sums(table, 0, chunks), rows_of_sums(table, 1, heads))
      .expand({chunks, heads, -1, -1});
}

at::Tensor AttendFunctors::own_gradient(const at::Tensor& table, const at::Tensor& sums) {
  const at::Tensor own = sums.narrow(0, 0, rows_of_sums(table, 0, sums.size(0)))
                             .narrow(1, 0, rows_of_sums(table, 1, sums.size(1)));
  return table_gradient(own).view(table.sizes()).to(table.scalar_type());
}

const at::Tensor& table_values(const Table<float>& table) { return values_of(table); }

Table<float> float_table(const at::Tensor& values) { return make_table<float>(values, at::kFloat); }
Table<int32_t> int_table(const at::Tensor& values) { return make_table<int32_t>(values, at::kInt); }

at::Tensor load(const Table<float>& table, const at::Tensor& index) { return select(table, index); }
at::Tensor load(const Table<int32_t>& table, const at::Tensor& index) { return select(table, index); }

}  // namespace fovea
