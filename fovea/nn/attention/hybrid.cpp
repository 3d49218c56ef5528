#include "fovea/nn/attention/hybrid.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "fovea/core/ceil_div.h"
#include "fovea/nn/attention/key_counts.h"
#include "fovea/ops/dense_functors.h"
#include "fovea/ops/hidden_keys.h"
#include "fovea/ops/operands.h"

namespace fovea::nn {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

// Sums over blocks of `size` rows of t (., ., T, .), the last of what is left.
at::Tensor block_sums(const at::Tensor& t, int64_t size) {
  const int64_t whole = t.size(2) / size, rest = t.size(2) % size;
  const at::Tensor sums = t.narrow(2, 0, whole * size).unflatten(2, {whole, size}).sum(3);
  return rest == 0 ? sums : at::cat({sums, t.narrow(2, whole * size, rest).sum(2, true)}, 2);
}

// Of blocks of rows (B, H, T, D): the means of those that are not hidden, and whether a block has none.
struct Pooled {
  at::Tensor means, empty;
};

Pooled pooled(const at::Tensor& rows, const at::Tensor& hidden, int64_t size) {
  const at::Tensor t = widened(rows);
  const at::Tensor real = hidden.defined() ? hidden.bitwise_not().to(t.scalar_type())
                                           : at::ones({1, 1, t.size(2), 1}, t.options());
  const at::Tensor counts = block_sums(real, size);
  return {block_sums(without_keys(t, hidden), size) / counts.clamp_min(1.0), counts == 0.0};
}

// The first row of each block, in their place.
Pooled first_rows_of(const at::Tensor& rows, int64_t size) {
  return {widened(rows.slice(2, 0, rows.size(2), size)), at::zeros({}, rows.options().dtype(at::kBool))};
}

// Key j stands where query i = j - shift does.
int64_t shift_of(CausalAlignment causal, int64_t queries, int64_t keys) {
  return causal == CausalAlignment::bottom_right ? keys - queries : 0;
}

}  // namespace

HybridAttention::HybridAttention(AttentionKind kind, const AttentionShape& shape,
                                 const HybridOptions& options)
    : EngineAttention(std::move(kind), shape, options),
      key_block_(options.key_block),
      query_block_(options.query_block),
      chosen_(options.chosen) {}

at::Tensor HybridAttention::chosen_blocks(const AttentionInput& input) const {
  const at::NoGradGuard no_grad;
  // Autocast would round what is compared.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const at::Tensor &q = input.q, &k = input.k;
  const at::Tensor hidden = hidden_keys(mechanism(), input);
  const int64_t n = q.size(2), m = k.size(2);
  const CausalAlignment causal = joined_causal(options().causal, input.call.causal);
  const bool one_sequence = !input.cross && n == m;
  const Pooled rows = causal == CausalAlignment::none
                          ? pooled(q, one_sequence ? hidden : at::Tensor(), query_block_)
                          : first_rows_of(q, query_block_),
               columns = pooled(k, hidden, key_block_);
  at::Tensor scores = at::matmul(rows.means * options().scale.value_or(1.0),
                                 with_heads(columns.means, q.size(1)).transpose(2, 3));
  at::Tensor own;
  if (causal != CausalAlignment::none) {
    const auto whole_numbers = scores.options().dtype(at::kLong);
    const int64_t shift = shift_of(causal, n, m);
    const at::Tensor first = at::arange(scores.size(2), whole_numbers) * query_block_ + shift,
                     last = (first + query_block_).clamp_max(n + shift) - 1,
                     blocks = at::arange(scores.size(3), whole_numbers);
    const auto block_at = [&](const at::Tensor& place) {
      return place.div(key_block_, "floor").unsqueeze(1);
    };
    own = (blocks >= block_at(first)).bitwise_and(blocks <= block_at(last));
    scores.masked_fill_(blocks > block_at(last), -kInfinite).masked_fill_(own, kInfinite);
  }
  scores.masked_fill_(rows.empty.bitwise_or(columns.empty.transpose(2, 3)), -kInfinite);

  const auto [best, places] =
      at::topk(scores, std::min(chosen_, scores.size(3)), 3, /*largest=*/true, /*sorted=*/false);
  const at::Tensor chosen =
      at::zeros(scores.sizes(), scores.options().dtype(at::kBool)).scatter_(3, places, best != -kInfinite);
  return own.defined() ? chosen.bitwise_or(own) : chosen;
}

void HybridAttention::prepare(AttentionInput& input, AttendOptions& options) const {
  options.functors = std::make_shared<BlockMaskFunctors>(
      chosen_blocks(input), BlockSizes{query_block_, key_block_}, input.q.size(2), input.k.size(2));
}

int64_t HybridAttention::pairs(int64_t n, int64_t m) const {
  const int64_t blocks = ceil_div(m, key_block_);
  if (options().causal == CausalAlignment::none) return n * std::min(chosen_ * key_block_, m);
  const int64_t shift = shift_of(options().causal, n, m);
  int64_t count = 0;
  for (int64_t i = std::max<int64_t>(-shift, 0); i < n; ++i) {
    const int64_t row = i / query_block_ * query_block_, place = i + shift;
    const int64_t first = std::max<int64_t>(row + shift, 0) / key_block_,
                  last = std::min((std::min(row + query_block_, n) - 1 + shift) / key_block_, blocks - 1);
    const int64_t own = std::max<int64_t>(last - first + 1, 0),
                  before = std::clamp<int64_t>(chosen_ - own, 0, std::min(first, blocks));
    count += std::min(before * key_block_, m) +
             std::max<int64_t>(std::min(place, m - 1) - first * key_block_ + 1, 0);
  }
  return count;
}

AttentionCost HybridAttention::cost(int64_t n, int64_t m, int64_t d) const {
  AttentionCost cost = EngineAttention::cost(n, m, d);
  const int64_t rows = ceil_div(n, query_block_), columns = ceil_div(m, key_block_), all = rows * columns;
  cost.multiply_adds += all * d;
  // The choice, with numbers and places of the chosen, is over before the fine attention; its mask stays.
  const int64_t numbers = (rows + columns) * d + all + 3 * rows * std::min(chosen_, columns);
  cost.bytes = std::max(cost.bytes, numbers * kFloatBytes) + all;
  return cost;
}

AttentionEntry hybrid_attention() {
  return attention_entry<HybridAttention>(
      {"hybrid",
       "softmax over the keys of the `chosen` blocks b of largest q~_r . k~_b; q~, k~ means of blocks of "
       "queries and keys, r that of i",
       "Lu et al. 2025, MoBA, 2.2; Yuan et al. 2025, Native sparse attention, 3.3.2",
       "O(N W D + N M D / (Q G)) time, W chosen keys a query, blocks of Q queries and G keys, "
       "O(N + M + N M / (Q G)) memory",
       "fused"},
      {.takes_masks = false, .takes_relative_keys = true, .takes_packed = false}, HybridOptions{});
}

}  // namespace fovea::nn
