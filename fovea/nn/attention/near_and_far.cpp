#include "fovea/nn/attention/near_and_far.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isneginf.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <limits>

#include "fovea/nn/attention/attend_along.h"
#include "fovea/ops/attend_checks.h"

namespace fovea::nn {
namespace {

at::Tensor joined(const AttendResult& near, const AttendResult& far) {
  const at::Tensor lowest = at::zeros({}, far.lse.options()).fill_(std::numeric_limits<float>::lowest());
  // A query without far keys, which may have no near ones either.
  const at::Tensor by = at::where(at::isneginf(far.lse), lowest, far.lse - near.lse);
  return at::lerp(near.out, far.out, at::sigmoid(by).unsqueeze(3).to(near.out.scalar_type()));
}

}  // namespace

AttendResult NearAndFarAttention::attend_with(const AttentionInput& input,
                                              const AttendOptions& options) const {
  const bool apart = pays(input.q.size(2)) && !this->options().alibi && can_follow_lines(input, options);
  if (!apart) return EngineAttention::attend_with(input, options);
  // What a call of all pairs would be refused for.
  check_attend(input.q, input.k, input.v, options);
  AttendOptions part = options;
  part.functors = nullptr;
  part.causal = CausalAlignment::none;
  part.lse = true;
  const AttendResult near_keys = near(input, part);
  // A sink belongs to one part.
  part.normaliser = Softmax{};
  return {joined(near_keys, far(input, part)), {}, {}};
}

AttentionCost NearAndFarAttention::cost(int64_t n, int64_t m, int64_t d) const {
  AttentionCost cost = EngineAttention::cost(n, m, d);
  if (n != m || !pays(n)) return cost;
  // Results of both kinds, one of them again in its order, and sums; operands again where lines are not
  // whole.
  const int64_t copies = n % stride_ == 0 ? 2 : 4;
  cost.bytes = (copies * n * d + 3 * n) * kFloatBytes;
  return cost;
}

}  // namespace fovea::nn
