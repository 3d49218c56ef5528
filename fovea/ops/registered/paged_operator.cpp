#include <ATen/ops/empty.h>

#include "fovea/ops/attend_paged.h"
#include "fovea/ops/registered/groups.h"
#include "fovea/ops/registered/operators.h"
#include "fovea/ops/registered/value_errors.h"

namespace fovea::registered {
namespace {

// Where the other arguments stand in attend_paged_arguments().
enum PagedPlace : size_t { kTable = kV + 1, kLengths, kPagesScale, kGroupPages };

std::vector<at::Tensor> run_paged(const Arguments& a) {
  return with_value_errors([&] {
    const at::Tensor q = a[kQ].toTensor();
    const PagedCache cache{a[kK].toTensor(), a[kV].toTensor(), a[kTable].toTensor(), a[kLengths].toTensor()};
    if (!a[kGroupPages].toBool()) require_own_heads("attend_paged", q, cache.k_pages, "k_pages", 4);
    AttendPagedOptions options;
    options.scale = a[kPagesScale].toOptional<double>();
    return std::vector<at::Tensor>{attend_paged(q, cache, options)};
  });
}

std::vector<at::Tensor> paged_shapes(const Arguments& a) {
  const at::Tensor q = a[kQ].toTensor();
  std::vector<c10::SymInt> shape = q.sym_sizes().vec();
  shape.back() = a[kV].toTensor().sym_size(-1);
  return {at::empty_symint(shape, q.options().requires_grad(false))};
}

std::string attend_paged_arguments() {
  return "Tensor q, Tensor k_pages, Tensor v_pages, Tensor table, Tensor lengths, *, float? scale=None, "
         "bool enable_gqa=False";
}

}  // namespace

const Operator kAttendPaged = {"fovea::attend_paged",
                               "fovea::attend_paged_backward",
                               attend_paged_arguments,
                               /*differentiable=*/kV + 1,
                               run_paged,
                               paged_shapes,
                               [](const Arguments&) { return std::vector<bool>{true}; }};

}  // namespace fovea::registered
