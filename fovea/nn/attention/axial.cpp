#include "fovea/nn/attention/axial.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "fovea/nn/attention/attend_along.h"
#include "fovea/ops/attend_checks.h"
#include "fovea/ops/operands.h"

namespace fovea::nn {
namespace {

// Dropped weights of the axes, and of the tokens before the grid, are of seeds of their own.
constexpr uint64_t kSeedOfColumns = 1, kSeedOfTokens = 2;

// (B, T) as operands are: (B, 1, T, 1).
at::Tensor as_operand(const at::Tensor& ids) { return ids.unsqueeze(1).unsqueeze(3); }

AttentionOutput sum_of(const AttentionOutput& a, const AttentionOutput& b) {
  return {a.out + b.out, a.weights.defined() ? a.weights + b.weights : at::Tensor(), {}};
}

}  // namespace

void AxialAttention::check_call(const AttentionInput& input) const {
  const AttentionCall& call = input.call;
  if (call.alibi_slopes || call.relative_table || call.relative_grid) {
    refuse("slopes and tables by distance are of sequences, or of a whole grid", "one",
           "Give the scores as a bias.");
  }
  if (call.blocks) refuse("a mask of blocks does not follow lines of a grid", "one", "Give a mask of pairs.");
  // What a call of whole sequences would be refused for.
  check_attend(input.q, input.k, input.v, options_of(call));
}

AttendOptions AxialAttention::options_along(const GridLines& lines, const AttentionInput& input) const {
  const int64_t batch = input.q.size(0);
  AttendOptions o = options_of(input.call);
  // Tokens before the grid come first.
  if (o.causal != CausalAlignment::none) o.causal = CausalAlignment::bottom_right;
  if (o.mask) o.mask = lines.pairs(*o.mask, batch);
  if (o.bias) o.bias = lines.pairs(*o.bias, batch);
  if (o.key_lengths) o.key_lengths = lines.key_lengths(*o.key_lengths);
  if (o.segments) {
    o.segments = AttendSegments{lines.queries(as_operand(o.segments->query_ids)).flatten(1),
                                lines.keys(as_operand(o.segments->key_ids)).flatten(1)};
  }
  return o;
}

AttendResult AxialAttention::attend_tokens(const AttentionInput& input) const {
  const int64_t count = input.grid->prefix;
  AttendOptions o = options_of(input.call);
  if (o.causal != CausalAlignment::none) o.causal = CausalAlignment::top_left;
  o.mask = first_rows(o.mask, count);
  o.bias = first_rows(o.bias, count);
  if (o.segments) o.segments->query_ids = o.segments->query_ids.narrow(1, 0, count);
  if (o.seed) *o.seed += kSeedOfTokens;
  return attend(input.q.narrow(2, 0, count), input.k, input.v, o);
}

AttentionOutput AxialAttention::along(GridAxis axis, const AttentionInput& input) const {
  const GridLines lines(*input.grid, axis);
  const int64_t batch = input.q.size(0);
  const AttendOptions plain = options_of(input.call);
  if (input.grid->prefix == 0 && can_follow_lines(input, plain)) {
    return {attend_along(lines, input, plain).out, {}, {}};
  }
  const AttendResult found =
      attend(lines.queries(input.q), lines.keys(input.k), lines.keys(input.v), options_along(lines, input));
  AttentionOutput result{lines.join(found.out, batch), {}, {}};
  if (input.call.weights) result.weights = lines.spread(found.weights, batch);
  if (input.grid->prefix == 0) return result;
  const AttendResult tokens = attend_tokens(input);
  result.out = at::cat({tokens.out, result.out}, 2);
  if (input.call.weights) result.weights = at::cat({tokens.weights, result.weights}, 2);
  return result;
}

AttentionOutput AxialAttention::run(const AttentionInput& input) {
  check_call(input);
  if (axes_ == AxialForm::rows) return along(GridAxis::rows, input);
  AttentionInput next = input;
  if (next.call.seed) *next.call.seed += kSeedOfColumns;
  if (axes_ == AxialForm::columns) return along(GridAxis::columns, next);
  const AttentionOutput rows = along(GridAxis::rows, input);
  if (axes_ == AxialForm::sum) return sum_of(rows, along(GridAxis::columns, next));
  // Each head of queries has values of its own by now.
  next.k = with_heads(input.k, input.q.size(1));
  next.v = rows.out;
  AttentionOutput result = along(GridAxis::columns, next);
  if (result.weights.defined()) result.weights = at::matmul(result.weights, rows.weights);
  return result;
}

int64_t AxialAttention::pairs(int64_t n, int64_t) const {
  GridPositions grid;
  grid.rows = std::max<int64_t>(static_cast<int64_t>(std::sqrt(static_cast<double>(n))), 1);
  grid.columns = n / grid.rows;
  if (shape().grid && shape().grid->length() == n) grid = *shape().grid;
  const int64_t places = grid.rows * grid.columns, tokens = grid.prefix * (places + n);
  const int64_t rows = places * grid.columns + tokens, columns = places * grid.rows + tokens;
  if (axes_ == AxialForm::rows) return rows;
  return axes_ == AxialForm::columns ? columns : rows + columns;
}

// Columns are brought back into their places by a copy, and one axis waits for the other.
AttentionCost AxialAttention::cost(int64_t n, int64_t m, int64_t d) const {
  const bool one_axis = axes_ == AxialForm::rows || axes_ == AxialForm::columns;
  const int64_t copies = !one_axis ? 2 : axes_ == AxialForm::columns ? 1 : 0;
  return {2 * d * pairs(n, m), copies * n * d * kFloatBytes};
}

AttentionEntry axial_attention() {
  return attention_entry<AxialAttention>(
      {"axial", "out_i = sum of softmax over i's row and of softmax over i's column, or one after the other",
       "Ho et al. 2019, Axial attention in multidimensional transformers, 3.1",
       "O(N (rows + columns) D) time, N^1.5 of a square grid, O(N D) memory", "fused"},
      {.supports_cross = false, .needs_2d = true, .observes = false, .takes_packed = false}, AxialOptions{});
}

}  // namespace fovea::nn
