#include "fovea/nn/attention/hierarchical.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <utility>

#include "fovea/core/ceil_div.h"
#include "fovea/nn/attention/key_counts.h"

namespace fovea::nn {

HierarchicalKeys::HierarchicalKeys(AttentionKind kind, const AttentionShape& shape,
                                   const HierarchicalOptions& options)
    : Attention(std::move(kind), shape), options_(options) {}

// One at least, which may be empty.
int64_t HierarchicalKeys::segments(int64_t keys) const {
  return std::max<int64_t>(ceil_div(keys, options_.segment), 1);
}

AttentionOutput HierarchicalKeys::run(const AttentionInput& input) {
  const at::Tensor &q = input.q, &k = input.k, &v = input.v;
  const int64_t batch = q.size(0), n = q.size(2), m = k.size(2), count = segments(m);
  // One segment is as long as what it holds.
  const int64_t size = std::min(options_.segment, std::max<int64_t>(m, 1));
  const at::Tensor counts = key_counts(mechanism(), input).value_or(at::full({batch}, m, at::kLong));
  const at::Tensor first = at::arange(count, at::kLong).unsqueeze(1) * size;

  // Segments are batch entries: (T B, H, N, D + Dv) of keys (T B, Hkv, segment, D).
  const auto in_segments = [&](const at::Tensor& rows) {
    return at::constant_pad_nd(rows, {0, 0, 0, count * size - m})
        .unflatten(2, {count, size})
        .permute({2, 0, 1, 3, 4})
        .flatten(0, 1);
  };
  AttendOptions words;
  words.scale = options_.scale;
  words.key_lengths = (counts - first).clamp(0, size).flatten().to(q.device());
  const at::Tensor keys = in_segments(k);
  const at::Tensor pooled =
      attend(q.expand({count, -1, -1, -1, -1}).flatten(0, 1), keys, at::cat({keys, in_segments(v)}, 3), words)
          .out;

  // Queries are batch entries: each has keys of its own, (B H N, 1, T, D).
  AttendOptions sentences;
  sentences.scale = options_.scale;
  sentences.key_lengths = (first < counts).sum(0).repeat_interleave(q.size(1) * n).to(q.device());
  const at::Tensor by_query =
      pooled.unflatten(0, {count, batch}).permute({1, 2, 3, 0, 4}).flatten(0, 2).unsqueeze(1);
  const at::Tensor out = attend(q.flatten(0, 2).unsqueeze(1).unsqueeze(1), by_query.narrow(3, 0, q.size(3)),
                                by_query.narrow(3, q.size(3), v.size(3)), sentences)
                             .out;
  return {out.reshape({batch, q.size(1), n, v.size(3)}), {}, {}};
}

// What attends to keys and values of segments, and what that leaves of each.
AttentionCost HierarchicalKeys::cost(int64_t n, int64_t m, int64_t d) const {
  const int64_t pooled = n * segments(m) * d;
  return {3 * n * m * d + 2 * pooled, 2 * pooled * kFloatBytes};
}

AttentionEntry hierarchical_attention() {
  return attention_entry<HierarchicalKeys>({"hierarchical",
                                            "out_i = sum_t softmax_t(s(q_i, k_it)) v_it over segments t, "
                                            "(k_it, v_it) = sum_j softmax_j(s_ij) (k_j, "
                                            "v_j) over j in t",
                                            "Yang et al. 2016, Hierarchical attention networks, 2.2",
                                            "O(N M D) time, O(N D M / segment) memory", "fused"},
                                           {.causal_ok = false,
                                            .takes_masks = false,
                                            .takes_biases = false,
                                            .gives_weights = false,
                                            .observes = false,
                                            .takes_packed = false},
                                           HierarchicalOptions{});
}

}  // namespace fovea::nn
