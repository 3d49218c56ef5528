#include <algorithm>
#include <cmath>
#include <limits>

#include "fovea/kernels/cpu/linear_features.h"
#include "fovea/kernels/cpu/linear_rows.h"
#include "fovea/kernels/cpu/linear_walk.h"
#include "fovea/kernels/cpu/value_sums.h"

namespace fovea::kernels {
namespace {

// Sums over keys, of one head of keys and all queries that share it.
template <class Features>
class LinearHead {
 public:
  explicit LinearHead(const LinearForwardArgs& args)
      : args_(args),
        n_(args.n),
        chunks_(n_),
        query_features_(n_.features),
        key_features_(n_.features),
        keys_(n_.features),
        values_(n_.value_dim),
        sums_(n_.features * values_.width()),
        key_sum_(keys_.width()),
        turned_(n_.features * kLinearChunk),
        pairs_(kLinearChunk * kLinearChunk),
        out_(kLinearChunk * values_.width()),
        reciprocals_(kLinearChunk),
        ones_(kLinearChunk) {
    std::fill(ones_.get(), ones_.get() + kLinearChunk, 1.0f);
  }

  void run(int64_t batch, int64_t kv_head) {
    batch_ = batch, kv_head_ = kv_head;
    clear(sums_, n_.features * values_.width());
    clear(key_sum_, keys_.width());
    in_pieces(0, chunks_[0].key, [&](int64_t first, int64_t count) { absorb(keys_at(first, count), first); });
    for (int64_t i = 0; i < chunks_.count(); ++i) {
      const LinearChunk chunk = chunks_[i];
      const Rows<float> keys = keys_at(chunk.key, chunk.keys);
      if (chunk.keys > 0) pack_transposed<float, float>(keys, chunk.width(), turned_.get());
      const int64_t group = n_.heads / n_.kv_heads;
      for (int64_t g = 0; g < group; ++g) attend(chunk, kv_head * group + g);
      if (i + 1 < chunks_.count() && chunk.keys > 0) absorb(keys, chunk.key);
    }
  }

 private:
  struct Sums {
    float* data;
    int64_t stride;
  };

  // Features, until those of other keys are asked for.
  Rows<float> keys_at(int64_t first, int64_t count) const {
    return key_features_.of(rows_of<float>(args_.k, batch_, kv_head_, first, count, n_.features));
  }
  Rows<float> value_rows(int64_t first, int64_t count) const {
    return values_.of(rows_of<float>(args_.v, batch_, kv_head_, first, count, n_.value_dim));
  }

  // Keys from `first` on, to the sums over all before.
  void absorb(const Rows<float>& keys, int64_t first) const {
    sum_values_by_columns({.weights = keys.data,
                           .weight_stride = keys.stride,
                           .values = value_rows(first, keys.count),
                           .rows = static_cast<int32_t>(n_.features),
                           .add = true},
                          sums_.get(), values_.width());
    if (!args_.reciprocals) return;
    sum_values({.weights = ones_.get(),
                .weight_stride = keys.count,
                .values = keys_.of(keys),
                .rows = 1,
                .add = true},
               key_sum_.get(), keys_.width());
  }

  void attend(const LinearChunk& chunk, int64_t head) const {
    const Rows<float> q =
        query_features_.of(rows_of<float>(args_.q, batch_, head, chunk.query, chunk.queries, n_.features));
    const auto rows = static_cast<int32_t>(chunk.queries);
    if (chunk.keys > 0) multiply_pairs(chunk, q);
    const Factors factors = divide(chunk, head, q);
    float* const out = row_of<float>(args_.out, batch_, head, chunk.query);
    const bool whole = n_.value_dim == values_.width();
    const Sums to = whole ? Sums{out, args_.out.row} : Sums{out_.get(), values_.width()};
    const Rows<float> before{sums_.get(), values_.width(), n_.features, values_.width()};
    sum_values({q.data, q.stride, before, rows, chunk.keys > 0 ? Factors{} : factors}, to.data, to.stride);
    if (chunk.keys > 0) add_pairs(chunk, factors, to);
    if (!whole) store_rows<float>({to.data, to.stride, chunk.queries, n_.value_dim}, out, args_.out.row, {});
  }

  // Pairs and their sums, without the keys that no query of a part sees.
  void multiply_pairs(const LinearChunk& chunk, const Rows<float>& q) const {
    chunk.in_parts([&](int64_t first, int64_t count, int64_t seen) {
      sum_values({q.data + first * q.stride,
                  q.stride,
                  {turned_.get(), chunk.width(), n_.features, round_up(seen, 16)},
                  static_cast<int32_t>(count)},
                 pairs_.get() + first * chunk.width(), chunk.width());
    });
    chunk.hide(pairs_.get());
  }
  void add_pairs(const LinearChunk& chunk, const Factors& factors, const Sums& to) const {
    const Rows<float> values = value_rows(chunk.key, chunk.keys);
    chunk.in_parts([&](int64_t first, int64_t count, int64_t seen) {
      sum_values({pairs_.get() + first * chunk.width(),
                  chunk.width(),
                  {values.data, values.stride, seen, values.dim},
                  static_cast<int32_t>(count),
                  {.all = factors.all, .by_row = factors.by_row ? factors.by_row + first : nullptr},
                  true},
                 to.data + first * to.stride, to.stride);
    });
  }

  Factors divide(const LinearChunk& chunk, int64_t head, const Rows<float>& q) const {
    if (!args_.reciprocals) return {};
    constexpr float kLeast = 1e8f * std::numeric_limits<float>::min();
    sum_rows(q, key_sum_.get(), {pairs_.get(), chunk.width(), chunk.queries, chunk.width()},
             reciprocals_.get());
    float* kept = args_.reciprocals + (batch_ * n_.heads + head) * n_.queries + chunk.query;
    for (int64_t r = 0; r < chunk.queries; ++r) {
      const float sum = reciprocals_[r];
      kept[r] = std::abs(sum) < kLeast ? 0.0f : 1.0f / sum;
    }
    return {.by_row = kept};
  }

  const LinearForwardArgs& args_;
  const LinearSizes& n_;
  LinearChunks chunks_;
  Features query_features_, key_features_;
  WholeRows keys_, values_;
  Buffer<float> sums_;     // (R, Dv) of the keys before a chunk, sum_j k_j v_j^T
  Buffer<float> key_sum_;  // (R), sum_j k_j
  Buffer<float> turned_, pairs_, out_, reciprocals_, ones_;
  int64_t batch_ = 0, kv_head_ = 0;
};

}  // namespace

void linear_forward(const LinearForwardArgs& args) { run_linear_heads<LinearHead>(args); }

}  // namespace fovea::kernels
