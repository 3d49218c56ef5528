#include "fovea/ops/attend_observe_composed.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/full.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/special_entr.h>
#include <ATen/ops/tensor.h>

#include <limits>
#include <tuple>
#include <utility>

#include "fovea/core/ceil_div.h"
#include "fovea/ops/attend_composed.h"

namespace fovea {
namespace {

// exp(score - lse), from a softmax whose own log-sum-exp may be another.
at::Tensor weights_of(const at::Tensor& q, const at::Tensor& k, const AttendOptions& options,
                      const at::Tensor& lse) {
  AttendOptions own = options;
  own.dropout_p = 0.0;
  own.weights = own.lse = true;
  const AttendResult result = attend_composed(q, k, k, own);
  const at::Tensor sees_none = result.lse == -std::numeric_limits<double>::infinity();
  const at::Tensor share = (result.lse - lse.to(result.lse.scalar_type())).exp().masked_fill(sees_none, 0.0);
  return result.weights * share.unsqueeze(3);
}

// Falling, the first of equals first; key -1 where there is no weight.
std::pair<at::Tensor, at::Tensor> top_of(const at::Tensor& weights, int64_t count) {
  const auto [sorted, places] = at::sort(weights, /*stable=*/true, /*dim=*/3, /*descending=*/true);
  const at::Tensor top = sorted.slice(3, 0, count);
  return {top, places.slice(3, 0, count).masked_fill((top > 0).bitwise_not(), -1)};
}

at::Tensor argmax_of(const at::Tensor& weights) {
  if (weights.size(3) > 0) return top_of(weights, 1).second.squeeze(3);
  return at::full(weights.sizes().slice(0, 3), -1, weights.options().dtype(at::kLong));
}

at::Tensor distances_of(const at::Tensor& weights) {
  const at::Tensor queries = at::arange(weights.size(2), weights.options()).unsqueeze(1),
                   keys = at::arange(weights.size(3), weights.options());
  return (weights * (queries - keys).abs()).sum(3);
}

at::Tensor block_means(const at::Tensor& weights, const ObservedBlocks& size) {
  const auto blocks = [&](const at::Tensor& pairs) {  // (., ., N, M)
    const int64_t n = pairs.size(2), m = pairs.size(3), nq = ceil_div(n, size.queries),
                  nk = ceil_div(m, size.keys);
    return at::constant_pad_nd(pairs, {0, nk * size.keys - m, 0, nq * size.queries - n})
        .view({pairs.size(0), pairs.size(1), nq, size.queries, nk, size.keys})
        .sum({3, 5});
  };
  const at::Tensor ones = at::full({1, 1, weights.size(2), weights.size(3)}, 1.0, weights.options());
  return blocks(weights) / blocks(ones);
}

}  // namespace

AttendObserved observe_composed(const at::Tensor& q, const at::Tensor& k, const AttendOptions& options,
                                const at::Tensor& lse, const AttendObservation& wanted) {
  const at::Tensor weights = weights_of(q, k, options, lse);
  AttendObserved observed;
  if (wanted.entropy) observed.entropy = at::special_entr(weights).sum(3);
  if (wanted.distance) observed.distance = distances_of(weights);
  if (wanted.argmax) observed.argmax = argmax_of(weights);
  if (wanted.top_k) std::tie(observed.top_weights, observed.top_keys) = top_of(weights, *wanted.top_k);
  if (wanted.received) observed.received = weights.sum(2);
  if (wanted.blocks) observed.blocks = block_means(weights, *wanted.blocks);
  if (!wanted.rows.empty()) {
    const at::Tensor rows = at::tensor(wanted.rows, weights.options().dtype(at::kLong));
    observed.rows = weights.index_select(2, rows);
  }
  return observed;
}

}  // namespace fovea
