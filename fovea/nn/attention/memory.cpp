#include "fovea/nn/attention/memory.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/nn/attention/key_counts.h"
#include "fovea/nn/attention/newest.h"
#include "fovea/ops/operands.h"

namespace fovea::nn {
namespace {

constexpr int64_t kMostHops = 1000;

AttentionKind with_size(AttentionKind kind, bool size) {
  if (size) kind.traits.causal_ok = kind.traits.observes = false;
  return kind;
}

}  // namespace

void MemoryOptions::check(const std::string& where) const {
  EngineOptions::check(where);
  if (hops > kMostHops) {
    throw usage_error(where, "hops must be at most " + shown(kMostHops), shown(hops), "Choose fewer.");
  }
  if (temporal && !size) {
    throw usage_error(where, "temporal needs size, the rows of its tables", "none", "Write size=50 too.");
  }
  if (size && causal != CausalAlignment::none) {
    throw usage_error(where, "size counts from the memory's end, which goes with no causal order", "one",
                      "Leave one of them out.");
  }
}

MemoryAttention::MemoryAttention(AttentionKind kind, const AttentionShape& shape,
                                 const MemoryOptions& options)
    : EngineAttention(with_size(std::move(kind), options.size.has_value()), shape, options),
      hops_(options.hops),
      size_(options.size) {
  const int64_t heads = shape.heads, d = shape.head_dim;
  if (shape.value_dim != d) {
    refuse("values must be of the size of queries, to which they are added",
           std::to_string(shape.value_dim) + " and " + std::to_string(d), "Choose one size.");
  }
  if (options.tying == MemoryTying::layer_wise) {
    H = register_parameter("H", at::eye(d).repeat({heads, 1, 1}));
  } else if (hops_ > 1) {
    C = register_parameter("C", at::eye(d).repeat({heads, hops_ - 1, 1, 1}));
  }
  if (!options.temporal) return;
  T_A = register_parameter("T_A", at::zeros({shape.kv_heads, *size_, d}));
  T_C = register_parameter("T_C", at::zeros({shape.kv_heads, *size_, d}));
}

void MemoryAttention::check_memory(const AttentionInput& input) const {
  const AttentionCall& call = input.call;
  if (input.k.size(2) == 0 && input.q.size(2) > 0) {
    refuse("the memory must hold something", "no keys", "Give at least one.");
  }
  if (size_ && (call.mask || call.segments || call.blocks || call.bias || call.alibi_slopes ||
                call.relative_table || call.relative_grid)) {
    refuse("a memory of some size is told by key_lengths alone, as it moves its keys", "a mask or a bias",
           "Leave size out.");
  }
}

at::Tensor MemoryAttention::memories(const at::Tensor& t, const at::Tensor& newest,
                                     const at::Tensor& table) const {
  const int64_t count = newest.size(1);
  const at::Tensor rows = gathered_rows(t, newest.unsqueeze(1));
  return table.defined() ? rows + table.narrow(1, 0, count).to(t.scalar_type()) : rows;
}

AttentionOutput MemoryAttention::run(const AttentionInput& input) {
  check_memory(input);
  if (!size_) return read(input);
  const int64_t keys = input.k.size(2), count = std::min(*size_, keys);
  const at::Tensor lengths = key_counts(mechanism(), input)
                                 .value_or(at::full({input.k.size(0)}, keys, at::kLong))
                                 .to(input.k.device());
  const at::Tensor newest = newest_first(lengths, count);
  AttentionInput kept = input;
  kept.k = memories(input.k, newest, T_A);
  kept.v = memories(input.v, newest, T_C);
  kept.call.key_lengths = lengths.clamp_max(count);
  AttentionOutput result = read(kept);
  if (result.weights.defined()) result.weights = in_order(result.weights, newest, keys);
  return result;
}

// Maps stand on the queries' side: u . (C v) = (C^T u) . v. So no memory is copied, and what a hidden key
// holds does not reach a parameter's gradient.
AttentionOutput MemoryAttention::read(const AttentionInput& input) const {
  const AttentionCall& call = input.call;
  const bool adjacent = !H.defined();
  const auto type = input.q.scalar_type();
  const auto map = [&](int64_t index) { return C.select(1, index).to(type); };
  AttendOptions options = options_of(call);
  AttentionOutput result;
  at::Tensor u = input.q, sees;
  const auto asked = [&](int64_t hop) { return adjacent && hop > 1 ? at::matmul(u, map(hop - 2)) : u; };
  for (int64_t hop = 0; hop < hops_; ++hop) {
    const bool last = hop + 1 == hops_;
    options.lse = hop == 0;
    options.weights = last && call.weights;
    if (call.seed) options.seed = *call.seed + static_cast<uint64_t>(hop);
    const at::Tensor& m = adjacent && hop > 0 ? input.v : input.k;
    auto [given, observed] = last && asks_anything(call.observe)
                                 ? attend_observed(asked(hop), m, input.v, options, call.observe)
                                 : ObservedAttend{attend(asked(hop), m, input.v, options), {}};
    if (hop == 0) sees = given.lse.detach() != -std::numeric_limits<double>::infinity();
    at::Tensor o = std::move(given.out);
    if (adjacent && hop > 0) o = at::matmul(o, map(hop - 1).transpose(1, 2));
    u = adjacent ? u + o : at::matmul(u, H.to(type).transpose(1, 2)).add_(o);
    if (last) result = {{}, given.weights, observed};
  }
  result.out = at::where(sees.unsqueeze(3), u, 0.0);
  return result;
}

AttentionCost MemoryAttention::cost(int64_t n, int64_t m, int64_t d) const {
  const int64_t kept = size_ ? std::min(*size_, m) : m;
  const bool adjacent = !H.defined();
  const int64_t maps = adjacent ? std::max<int64_t>(2 * hops_ - 3, 0) : hops_;
  AttentionCost cost = EngineAttention::cost(n, kept, d);
  cost.multiply_adds = hops_ * cost.multiply_adds + maps * n * d * d;
  // While attend() runs, u and what it asks for it; then u, o and their sum, of which one is the result.
  const int64_t row = d * kFloatBytes, u = hops_ > 1 ? n : 0, asked = adjacent && hops_ > 2 ? n : 0;
  cost.bytes = std::max(cost.bytes + (u + asked) * row, (u + n) * row);
  if (size_) cost.bytes += 2 * kept * row;
  return cost;
}

AttentionEntry memory_attention() {
  return attention_entry<MemoryAttention>(
      {"memory", "u = q; K times: u = u + sum_j softmax_j(u . m_j) c_j; out = u",
       "Sukhbaatar et al. 2015, End-to-end memory networks, section 2",
       "O(K (N M D + N D^2)) time, O((N + M) D) memory, of K hops", "decode, fused"},
      {.takes_packed = false}, MemoryOptions{});
}

}  // namespace fovea::nn
