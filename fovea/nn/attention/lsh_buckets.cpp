#include "fovea/nn/attention/lsh_buckets.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "fovea/core/ceil_div.h"
#include "fovea/ops/operands.h"

namespace fovea::nn {
namespace {

// Of one sequence.
struct OrderView {
  int64_t* rows;
  int32_t *codes, *firsts, *lasts;
  /// Of position i at [i * rounds].
  int64_t* places;
};

struct SequenceOrigin {
  /// Of its first row and of its first place.
  int64_t row, place;
  int64_t length, real, rounds;
};

void order_one(const int64_t* buckets, const LshLayout& layout, const SequenceOrigin& from,
               const OrderView& to) {
  const auto bucket_of = [&](int64_t i) { return i < from.real ? buckets[i] : layout.buckets; };
  std::vector<int64_t> begins(layout.buckets + 2, 0);
  for (int64_t i = 0; i < from.length; ++i) ++begins[bucket_of(i) + 1];
  std::partial_sum(begins.begin(), begins.end(), begins.begin());
  std::vector<int64_t> next(begins.begin(), begins.end() - 1);
  for (int64_t i = 0; i < from.length; ++i) {
    const int64_t bucket = bucket_of(i), place = next[bucket]++, at = layout.chunk + place;
    const int64_t code = layout.across ? i : place;
    const int64_t last = layout.across ? from.length - 1 : begins[bucket + 1] - 1;
    to.rows[at] = from.row + i;
    to.codes[at] = static_cast<int32_t>(i < from.real ? code : -1);
    to.firsts[at] = static_cast<int32_t>(layout.across ? 0 : begins[bucket]);
    to.lasts[at] = static_cast<int32_t>(layout.causal ? code : last);
    to.places[i * from.rounds] = from.place + place;
  }
}

// What fills the last chunk is seen by none and sees none; then that chunk stands in front too.
void close(const OrderView& to, int64_t row, int64_t length, int64_t padded, int64_t chunk) {
  for (int64_t at = chunk + length; at < chunk + padded; ++at) {
    to.rows[at] = row;
    to.codes[at] = to.lasts[at] = -1;
    to.firsts[at] = 0;
  }
  const auto repeat = [&](auto* table) { std::copy_n(table + padded, chunk, table); };
  repeat(to.rows), repeat(to.codes), repeat(to.firsts), repeat(to.lasts);
}

}  // namespace

at::Tensor lsh_buckets(const at::Tensor& rows, const at::Tensor& rotations) {
  const at::Tensor x = widened(rows.detach());
  const int64_t rounds = rotations.size(2), half = rotations.size(3);
  const at::Tensor turned = at::matmul(x, rotations.to(x.options()).flatten(2)).unflatten(3, {rounds, half});
  const at::Tensor longest = turned.abs().argmax(-1, /*keepdim=*/true);
  const at::Tensor opposite = turned.gather(-1, longest) < 0;
  return (longest + opposite * half).squeeze(-1).transpose(2, 3);
}

LshOrder lsh_order(const at::Tensor& buckets, const LshLayout& layout,
                   const std::optional<at::Tensor>& lengths) {
  const int64_t entries = buckets.size(0), heads = buckets.size(1), rounds = buckets.size(2),
                length = buckets.size(3), chunk = layout.chunk;
  const int64_t padded = ceil_div(length, chunk) * chunk, width = chunk + padded,
                sequences = entries * heads * rounds;
  LshOrder order;
  const auto longs = buckets.options().dtype(at::kLong), ints = longs.dtype(at::kInt);
  order.rows = at::empty({sequences, width}, longs);
  order.codes = at::empty({sequences, width}, ints);
  order.firsts = at::empty({sequences, width}, ints);
  order.lasts = at::empty({sequences, width}, ints);
  order.places = at::empty({entries, heads, length, rounds}, longs);
  const at::Tensor given = buckets.contiguous();
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t head = s / rounds, row = head * length;  // of all batch entries
    const int64_t real = lengths ? lengths->const_data_ptr<int64_t>()[head / heads] : length;
    const OrderView to{order.rows.mutable_data_ptr<int64_t>() + s * width,
                       order.codes.mutable_data_ptr<int32_t>() + s * width,
                       order.firsts.mutable_data_ptr<int32_t>() + s * width,
                       order.lasts.mutable_data_ptr<int32_t>() + s * width,
                       order.places.mutable_data_ptr<int64_t>() + row * rounds + s % rounds};
    order_one(given.const_data_ptr<int64_t>() + s * length, layout, {row, s * padded, length, real, rounds},
              to);
    close(to, row, length, padded, chunk);
  }
  return order;
}

}  // namespace fovea::nn
