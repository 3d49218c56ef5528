#include "fovea/ops/attend_paged_composed.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/empty.h>

#include <utility>
#include <vector>

#include "fovea/core/ceil_div.h"
#include "fovea/ops/attend_composed.h"
#include "fovea/ops/attend_functors.h"

namespace fovea {
namespace {

// Functors of the whole cache as those of one sequence whose queries begin at position `first`, in causal
// order.
class AtTheEnd : public AttendFunctors {
 public:
  AtTheEnd(std::shared_ptr<const AttendFunctors> given, int64_t first, int64_t batch)
      : given_(std::move(given)), first_(first), batch_(batch) {}

  TileProgram program() const override { return {}; }  // for the definition only

  at::Tensor score(const at::Tensor& scores, const TensorAt& at) const override {
    return given_ ? given_->score(scores, moved(at)) : scores;
  }
  at::Tensor allowed(const TensorAt& at) const override {
    const at::Tensor causal = at.k <= at.q + first_;
    const at::Tensor seen = given_ ? given_->allowed(moved(at)) : at::Tensor();
    return seen.defined() ? seen & causal : causal;
  }

 private:
  // A query before the start sees nothing, whatever a table holds; it must only not be asked there.
  TensorAt moved(const TensorAt& at) const {
    return {at::clamp_min(at.q + first_, 0), at.k, at.batch + batch_, at.head};
  }

  std::shared_ptr<const AttendFunctors> given_;
  int64_t first_, batch_;
};

// (1, Hkv, length, D)
at::Tensor gathered(const at::Tensor& pages, const at::Tensor& numbers, int64_t length) {
  const at::Tensor rows = pages.index_select(0, numbers).transpose(0, 1).flatten(1, 2);
  return rows.narrow(1, 0, length).unsqueeze(0);
}

}  // namespace

at::Tensor attend_paged_composed(const at::Tensor& q, const PagedCache& cache,
                                 const AttendPagedOptions& options) {
  const int64_t page = cache.k_pages.size(2), queries = q.size(2);
  std::vector<at::Tensor> outs;
  for (int64_t b = 0; b < q.size(0); ++b) {
    const auto length = cache.lengths[b].item<int64_t>();
    const at::Tensor numbers = cache.table[b].narrow(0, 0, ceil_div(length, page));
    AttendOptions one;
    one.scale = options.scale;
    const FunctorList functors = {std::make_shared<AtTheEnd>(options.functors, length - queries, b)};
    outs.push_back(attend_composed(q.narrow(0, b, 1), gathered(cache.k_pages, numbers, length),
                                   gathered(cache.v_pages, numbers, length), one, functors)
                       .out);
  }
  if (outs.empty()) return at::empty({0, q.size(1), queries, cache.v_pages.size(3)}, q.options());
  return at::cat(outs);
}

}  // namespace fovea
