#include "fovea/nn/attention/longformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <utility>

namespace fovea::nn {
namespace {

AttentionKind with_rows(AttentionKind kind, bool rows) {
  if (rows) {
    kind.traits.needs_x = true;
    kind.traits.observes = kind.traits.takes_packed = false;
  }
  return kind;
}

}  // namespace

LongformerAttention::LongformerAttention(AttentionKind kind, const AttentionShape& shape,
                                         const LongformerOptions& options)
    : EngineAttention(with_rows(std::move(kind), options.global_projections), shape, options) {
  if (!options.global_projections) return;
  if (shape.kv_heads != shape.heads || shape.value_dim != shape.head_dim) {
    refuse("global projections need as many heads of keys as of queries, of one size", "others",
           "Leave global_projections out.");
  }
  const int64_t width = shape.heads * shape.head_dim;
  query_global = register_module("query_global", Linear(shape.width, width));
  key_global = register_module("key_global", Linear(shape.width, width));
  value_global = register_module("value_global", Linear(shape.width, width));
}

AttendResult LongformerAttention::attend_globals(const AttentionInput& input, int64_t count) {
  const at::Tensor& rows = input.context.defined() ? input.context : input.x;
  const auto heads = [&](const at::Tensor& t) {
    return t.unflatten(2, {shape().heads, shape().head_dim}).transpose(1, 2);
  };
  AttendOptions options = options_of(input.call);
  options.mask = first_rows(options.mask, count);
  options.bias = first_rows(options.bias, count);
  if (options.segments) options.segments->query_ids = options.segments->query_ids.narrow(1, 0, count);
  return attend(heads(query_global->forward(input.x.narrow(1, 0, count))), heads(key_global->forward(rows)),
                heads(value_global->forward(rows)), options);
}

AttentionOutput LongformerAttention::run(const AttentionInput& input) {
  const bool projected = !query_global.is_empty();
  const AttentionCall& call = input.call;
  if (projected &&
      (call.blocks || call.relative_grid || options_of(call).causal == CausalAlignment::bottom_right)) {
    refuse("global projections go with neither blocks, nor a grid's table, nor a bottom right causal order",
           "one", "Leave one out.");
  }
  AttentionOutput result = EngineAttention::run(input);
  const int64_t length = input.q.size(2), count = std::min(options().global, length);
  if (!projected || count == 0) return result;
  const AttendResult globals = attend_globals(input, count);
  const auto joined = [&](const at::Tensor& first, const at::Tensor& all) {
    return at::cat({first, all.narrow(2, count, length - count)}, 2);
  };
  result.out = joined(globals.out, result.out);
  if (result.weights.defined()) result.weights = joined(globals.weights, result.weights);
  return result;
}

AttentionCost LongformerAttention::cost(int64_t n, int64_t m, int64_t d) const {
  AttentionCost cost = EngineAttention::cost(n, m, d);
  if (query_global.is_empty()) return cost;
  const int64_t count = std::min(options().global, n);
  cost.multiply_adds += (count + 2 * m) * d * shape().width + 2 * count * m * d;
  // One after the other.
  cost.bytes = std::max(cost.bytes, 2 * m * d * kFloatBytes);
  return cost;
}

AttentionEntry longformer_attention() {
  return attention_entry<LongformerAttention>(
      {"longformer", "softmax over |i - j| <= window, or one of both before global",
       "Beltagy et al. 2020, 3.1", "O(N W D) time, W keys a query, O(N + M) memory", "fused"},
      {.takes_relative_keys = true}, LongformerOptions{});
}

}  // namespace fovea::nn
