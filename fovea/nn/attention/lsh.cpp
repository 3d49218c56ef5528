#include "fovea/nn/attention/lsh.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/embedding_bag.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isneginf.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "fovea/core/ceil_div.h"
#include "fovea/core/error.h"
#include "fovea/core/random.h"
#include "fovea/mods/bucket_runs.h"
#include "fovea/nn/attention/key_counts.h"
#include "fovea/nn/attention/lsh_buckets.h"
#include "fovea/ops/attend_functors.h"
#include "fovea/ops/attend_similarity.h"
#include "fovea/ops/operands.h"

namespace fovea::nn {
namespace {

at::Tensor drawn_rotations(const AttentionShape& shape, const LshOptions& o) {
  at::Tensor drawn = at::empty({shape.heads, shape.head_dim, o.rounds, o.buckets / 2}, at::kFloat);
  if (drawn.is_meta()) return drawn;
  std::generate_n(drawn.mutable_data_ptr<float>(), drawn.numel(),
                  [random = Random(static_cast<uint64_t>(o.seed))]() mutable {
                    return static_cast<float>(random.normal());
                  });
  return drawn;
}

// Rows (B, H, N, D) at places of (B H N).
at::Tensor rows_at(const at::Tensor& t, const at::Tensor& places) {
  return at::embedding(t.reshape({-1, t.size(3)}), places);
}

// (S, chunk + P, D) -> (S, chunks, 2 chunk, D), each chunk behind the one before it: a view, or a copy where
// a gradient comes back, which a view that overlaps sums number by number.
at::Tensor with_chunk_before(const at::Tensor& rows, int64_t chunk) {
  if (!rows.requires_grad()) return rows.unfold(1, 2 * chunk, chunk).transpose(2, 3);
  const int64_t padded = rows.size(1) - chunk;
  const auto chunks = [&](int64_t begin) {
    return rows.narrow(1, begin, padded).unflatten(1, {padded / chunk, chunk});
  };
  return at::cat({chunks(0), chunks(chunk)}, 2);
}

std::shared_ptr<const AttendFunctors> mask_of(const LshOrder& order, int64_t chunk) {
  const auto table = [](const at::Tensor& t) { return int_table(t.flatten()); };
  return bind(Identity{}, BucketRuns(table(order.codes), table(order.firsts), table(order.lasts),
                                     static_cast<int32_t>(chunk), static_cast<int32_t>(order.rows.size(1))));
}

}  // namespace

void LshOptions::check(const std::string& where) const {
  if (buckets % 2 == 0) return;
  throw usage_error(where, "buckets must be even", std::to_string(buckets),
                    "A rotated axis has two ends, a bucket each.");
}

LshAttention::LshAttention(AttentionKind kind, const AttentionShape& shape, const LshOptions& options)
    : Attention(std::move(kind), shape), rotations(drawn_rotations(shape, options)), options_(options) {}

std::string LshAttention::exact_form(int64_t n) const {
  return fmt::format("lsh:rounds=1,chunk={},causal={},scale={}", n, text_of(causal()), options_.scale);
}

CausalAlignment LshAttention::causal_of(const AttentionInput& input) const {
  return joined_causal(options_.causal, input.call.causal);
}

LshAttention::Seen LshAttention::see_all(const AttentionInput& input, const at::Tensor& keys) const {
  AttendOptions options;
  options.scale = options_.scale;
  options.functors = bind(Identity{}, !fovea::Window(0, 0));
  options.causal = causal_of(input);
  options.key_lengths = input.call.key_lengths;
  options.lse = true;
  const AttendResult result = attend(input.q, keys, with_heads(input.v, shape().heads), options);
  return {result.out, at::isneginf(result.lse)};
}

LshAttention::Seen LshAttention::see_buckets(const AttentionInput& input, const at::Tensor& keys) const {
  const int64_t chunk = options_.chunk;
  const LshLayout layout{options_.buckets, chunk, causal_of(input) != CausalAlignment::none,
                         options_.attend_across_buckets};
  const LshOrder order =
      lsh_order(lsh_buckets(input.q, rotations).cpu(), layout, key_counts(mechanism(), input));
  const at::Tensor rows = order.rows.to(keys.device()), places = order.places.to(keys.device());
  const int64_t padded = rows.size(1) - chunk;

  AttendOptions options;
  options.scale = options_.scale;
  options.functors = mask_of(order, chunk);
  options.lse = true;
  const at::Tensor queries =
      rows_at(input.q, rows.narrow(1, chunk, padded)).unflatten(1, {padded / chunk, chunk});
  const AttendResult rounds =
      attend(queries, with_chunk_before(rows_at(keys, rows), chunk),
             with_chunk_before(rows_at(with_heads(input.v, shape().heads), rows), chunk), options);

  const at::Tensor lse = rounds.lse.reshape({-1, 1, 1, 1});
  const at::Tensor of_rounds = rows_at(lse, places).squeeze(-1);  // (B, H, N, rounds)
  const at::Tensor blind = at::isneginf(of_rounds).all(-1);
  const at::Tensor weights =
      at::softmax(at::where(blind.unsqueeze(-1), at::zeros({}, lse.options()), of_rounds), -1);
  const at::Tensor bags = at::arange(0, places.numel(), options_.rounds, places.options());
  const at::Tensor merged =
      std::get<0>(at::embedding_bag(rounds.out.reshape({padded * rows.size(0), -1}), places.flatten(), bags,
                                    /*scale_grad_by_freq=*/false, /*mode=*/0, /*sparse=*/false,
                                    weights.flatten().to(rounds.out.scalar_type())));
  return {merged.view({input.q.size(0), input.q.size(1), input.q.size(2), -1}), blind};
}

AttentionOutput LshAttention::run(const AttentionInput& input) {
  const at::Tensor& q = input.q;
  const int64_t length = q.size(2);
  // Of unit length; the queries' lengths are a temperature of each.
  const at::Tensor keys = normalised(q.narrow(2, 0, 0), q, Cosine{}).k;
  const bool all = length <= options_.chunk || q.numel() == 0 || q.is_meta();
  const Seen seen = all ? see_all(input, keys) : see_buckets(input, keys);
  at::Tensor alone = seen.blind;
  if (const auto counts = key_counts(mechanism(), input)) {
    const at::Tensor real = at::arange(length, counts->options()) < counts->unsqueeze(1);
    alone = alone & real.to(alone.device()).unsqueeze(1);
  }
  return {at::where(alone.unsqueeze(3), with_heads(input.v, shape().heads), seen.out), {}, {}};
}

AttentionCost LshAttention::cost(int64_t n, int64_t, int64_t d) const {
  const int64_t chunk = options_.chunk, rounds = options_.rounds;
  if (n <= chunk) return {2 * d * n * n, 4 * n * d * kFloatBytes};
  const int64_t padded = ceil_div(n, chunk) * chunk;
  // Sorted queries, keys, values and results with their order; or rotated rows, and how long those are.
  const int64_t sorted = rounds * padded * (4 * d + 8), rotated = rounds * n * (options_.buckets + 2);
  return {rounds * d * (padded * 4 * chunk + n * options_.buckets / 2),
          std::max(sorted, rotated) * kFloatBytes};
}

AttentionEntry lsh_attention() {
  return attention_entry<LshAttention>(
      {"lsh",
       "softmax of q_i . q_j / |q_j| over j != i of i's bucket, near in the order of buckets; rounds merged",
       "Kitaev et al. 2020, Reformer, section 2",
       "O(N R (C + G) D) time, R rounds, chunks of C, G buckets, O(N R (D + G)) memory", "fused"},
      {.supports_cross = false,
       .takes_masks = false,
       .takes_biases = false,
       .gives_weights = false,
       .observes = false,
       .takes_packed = false},
      LshOptions{});
}

}  // namespace fovea::nn
