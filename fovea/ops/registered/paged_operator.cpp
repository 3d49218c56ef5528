#include <ATen/ops/empty.h>

#include "fovea/core/error.h"
#include "fovea/ops/attend_paged.h"
#include "fovea/ops/describe.h"
#include "fovea/ops/registered/operators.h"
#include "fovea/ops/registered/value_errors.h"

namespace fovea::registered {
namespace {

std::vector<at::Tensor> run_paged(const Arguments& a) {
  return with_value_errors([&] {
    const at::Tensor q = a[0].toTensor();
    const PagedCache cache{a[1].toTensor(), a[2].toTensor(), a[3].toTensor(), a[4].toTensor()};
    const bool grouped = a[6].toBool();
    if (!grouped && q.dim() == 4 && cache.k_pages.dim() == 4 && q.size(1) != cache.k_pages.size(1)) {
      throw usage_error("attend_paged", "q and k_pages must share the number of heads; found q " +
                                            describe(q) + ", k_pages " + describe(cache.k_pages) +
                                            ". Pass enable_gqa=True to let heads share keys.");
    }
    AttendPagedOptions options;
    options.scale = a[5].toOptional<double>();
    return std::vector<at::Tensor>{attend_paged(q, cache, options)};
  });
}

std::vector<at::Tensor> paged_shapes(const Arguments& a) {
  const at::Tensor q = a[0].toTensor();
  std::vector<c10::SymInt> shape = q.sym_sizes().vec();
  shape.back() = a[2].toTensor().sym_size(-1);
  return {at::empty_symint(shape, q.options().requires_grad(false))};
}

std::string attend_paged_arguments() {
  return "Tensor q, Tensor k_pages, Tensor v_pages, Tensor table, Tensor lengths, *, float? scale=None, "
         "bool enable_gqa=False";
}

}  // namespace

const Operator kAttendPaged = {
    "fovea::attend_paged",  "fovea::attend_paged_backward",
    attend_paged_arguments,
    /*differentiable=*/3,   run_paged,
    paged_shapes,           [](const Arguments&) { return std::vector<bool>{true}; }};

}  // namespace fovea::registered
