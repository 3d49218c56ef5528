#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/linear_chunks.h"
#include "fovea/kernels/cpu/linear_rows.h"
#include "fovea/kernels/cpu/parallel.h"
#include "fovea/kernels/cpu/value_sums.h"

namespace fovea::kernels {
namespace {

void clear(const Buffer<float>& numbers, int64_t count) {
  std::fill(numbers.get(), numbers.get() + count, 0.0f);
}

// Rows of a head, and those of a result.
Rows<float> rows_at(const Operand& t, int64_t batch, int64_t head, int64_t first, int64_t count,
                    int64_t dim) {
  return rows_of<float>(t, batch, head, first, count, dim);
}

// Sums over keys, of one head of keys and all queries that share it.
class LinearHead {
 public:
  explicit LinearHead(const LinearForwardArgs& args)
      : args_(args),
        n_(args.n),
        chunks_(n_),
        features_(n_.features),
        values_(n_.value_dim),
        sums_(n_.features * values_.width()),
        key_sum_(features_.width()),
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
    clear(key_sum_, features_.width());
    int64_t absorbed = 0;
    for (int64_t i = 0; i < chunks_.count(); ++i) {
      const LinearChunk chunk = chunks_[i];
      in_pieces(absorbed, chunk.key, [&](int64_t first, int64_t count) { absorb(first, count); });
      absorbed = chunk.key;
      if (chunk.keys > 0) {
        pack_transposed<float, float>(rows_at(args_.k, batch, kv_head, chunk.key, chunk.keys, n_.features),
                                      chunk.width(), turned_.get());
      }
      const int64_t group = n_.heads / n_.kv_heads;
      for (int64_t g = 0; g < group; ++g) attend(chunk, kv_head * group + g);
    }
  }

 private:
  struct Sums {
    float* data;
    int64_t stride;
  };

  Rows<float> value_rows(int64_t first, int64_t count) const {
    return values_.of(rows_at(args_.v, batch_, kv_head_, first, count, n_.value_dim));
  }

  // To the sums over all keys before.
  void absorb(int64_t first, int64_t count) const {
    const Rows<float> keys = rows_at(args_.k, batch_, kv_head_, first, count, n_.features);
    sum_values_by_columns({.weights = keys.data,
                           .weight_stride = keys.stride,
                           .values = value_rows(first, count),
                           .rows = static_cast<int32_t>(n_.features),
                           .add = true},
                          sums_.get(), values_.width());
    if (!args_.reciprocals) return;
    sum_values({.weights = ones_.get(),
                .weight_stride = count,
                .values = features_.of(keys),
                .rows = 1,
                .add = true},
               key_sum_.get(), features_.width());
  }

  void attend(const LinearChunk& chunk, int64_t head) const {
    const Rows<float> q = rows_at(args_.q, batch_, head, chunk.query, chunk.queries, n_.features);
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
  WholeRows features_, values_;
  Buffer<float> sums_;     // (R, Dv) of the keys before a chunk, sum_j k_j v_j^T
  Buffer<float> key_sum_;  // (R), sum_j k_j
  Buffer<float> turned_, pairs_, out_, reciprocals_, ones_;
  int64_t batch_ = 0, kv_head_ = 0;
};

// Of one head of keys. In the names, g are the gradients of a chunk's results over their sums of weights, and
// c those of the sums: a pair's slope is g_i . v_j + c_i.
class LinearHeadGradient {
 public:
  explicit LinearHeadGradient(const LinearBackwardArgs& args)
      : args_(args),
        n_(args.n),
        group_(n_.heads / n_.kv_heads),
        chunks_(n_),
        queries_(n_.features),
        keys_(n_.features),
        sums_(n_.value_dim * keys_.width()),
        sum_(keys_.width()),
        turned_values_(n_.value_dim * kLinearChunk),
        turned_keys_(n_.features * kLinearChunk),
        slopes_(kLinearChunk * kLinearChunk),
        pairs_(kLinearChunk * kLinearChunk),
        given_(kLinearChunk * n_.value_dim),
        of_sums_(group_ * n_.queries),
        to_rows_(kLinearChunk * keys_.width()),
        to_values_(round_up(n_.value_dim, 16) * kLinearChunk),
        ones_(kLinearChunk) {
    std::fill(ones_.get(), ones_.get() + kLinearChunk, 1.0f);
    clear(of_sums_, group_ * n_.queries);
  }

  void run(int64_t batch, int64_t kv_head) {
    batch_ = batch, kv_head_ = kv_head;
    if (args_.reciprocals) differentiate_sums();
    give_queries();
    give_keys();
  }

 private:
  Rows<float> query_rows(const LinearChunk& chunk, int64_t g) const {
    return rows_at(args_.q, batch_, kv_head_ * group_ + g, chunk.query, chunk.queries, n_.features);
  }
  Rows<float> key_rows(int64_t first, int64_t count) const {
    return rows_at(args_.k, batch_, kv_head_, first, count, n_.features);
  }
  Rows<float> value_rows(int64_t first, int64_t count) const {
    return rows_at(args_.v, batch_, kv_head_, first, count, n_.value_dim);
  }
  const float* reciprocals(int64_t g, int64_t query) const {
    return args_.reciprocals + (batch_ * n_.heads + kv_head_ * group_ + g) * n_.queries + query;
  }
  float* of_sums(int64_t g, int64_t query) const { return of_sums_.get() + g * n_.queries + query; }
  // (Dv, R): sum_j v_j k_j^T of the keys before a chunk, or sum_i g_i q_i^T of the queries after.
  Rows<float> sums() const { return {sums_.get(), keys_.width(), n_.value_dim, keys_.width()}; }
  // (R): sum_j k_j, or sum_i c_i q_i.
  Rows<float> sum() const { return {sum_.get(), keys_.width(), 1, keys_.width()}; }

  void differentiate_sums() const {
    for (int64_t g = 0; g < group_; ++g) {
      const int64_t head = kv_head_ * group_ + g;
      in_pieces(0, n_.queries, [&](int64_t first, int64_t count) {
        const Rows<float> out = rows_at(args_.out, batch_, head, first, count, n_.value_dim);
        store_rows<float>(out, given_.get(), n_.value_dim, {});
        dot_rows(rows_at(args_.grad_out, batch_, head, first, count, n_.value_dim), given_.get(),
                 of_sums(g, first));
        for (int64_t r = 0; r < count; ++r) of_sums(g, first)[r] *= -reciprocals(g, first)[r];
      });
    }
  }

  // g of a chunk, (queries, Dv).
  void load_given(const LinearChunk& chunk, int64_t g) const {
    const Rows<float> rows =
        rows_at(args_.grad_out, batch_, kv_head_ * group_ + g, chunk.query, chunk.queries, n_.value_dim);
    store_rows<float>(rows, given_.get(), n_.value_dim,
                      {.by_row = args_.reciprocals ? reciprocals(g, chunk.query) : nullptr});
  }

  void load_slopes(const LinearChunk& chunk, int64_t g) const {
    const int64_t width = chunk.width();
    sum_values({given_.get(),
                n_.value_dim,
                {turned_values_.get(), width, n_.value_dim, width},
                static_cast<int32_t>(chunk.queries)},
               slopes_.get(), width);
    for (int64_t p = 0; p < chunk.queries; ++p) {
      const float c = of_sums(g, chunk.query)[p];
      for (int64_t j = 0; j < width; ++j) slopes_[p * width + j] += c;
    }
    chunk.hide(slopes_.get());
  }

  void turn_values(const LinearChunk& chunk) const {
    pack_transposed<float, float>(value_rows(chunk.key, chunk.keys), chunk.width(), turned_values_.get());
  }

  void give_queries() const {
    clear(sums_, n_.value_dim * keys_.width());
    clear(sum_, keys_.width());
    int64_t absorbed = 0;
    for (int64_t i = 0; i < chunks_.count(); ++i) {
      const LinearChunk chunk = chunks_[i];
      in_pieces(absorbed, chunk.key, [&](int64_t first, int64_t count) { absorb_keys(first, count); });
      absorbed = chunk.key;
      if (chunk.keys > 0) turn_values(chunk);
      for (int64_t g = 0; g < group_; ++g) give_queries(chunk, g);
    }
  }

  void absorb_keys(int64_t first, int64_t count) const {
    const Rows<float> values = value_rows(first, count), keys = keys_.of(key_rows(first, count));
    sum_values_by_columns({values.data, values.stride, keys, static_cast<int32_t>(n_.value_dim), {}, true},
                          sums_.get(), keys_.width());
    sum_values({ones_.get(), count, keys, 1, {}, true}, sum_.get(), keys_.width());
  }

  void give_queries(const LinearChunk& chunk, int64_t g) const {
    const auto rows = static_cast<int32_t>(chunk.queries);
    const int64_t width = keys_.width();
    load_given(chunk, g);
    sum_values({given_.get(), n_.value_dim, sums(), rows}, to_rows_.get(), width);
    sum_values({of_sums(g, chunk.query), 1, sum(), rows, {}, true}, to_rows_.get(), width);
    if (chunk.keys > 0) {
      load_slopes(chunk, g);
      sum_values({slopes_.get(), chunk.width(), keys_.of(key_rows(chunk.key, chunk.keys)), rows, {}, true},
                 to_rows_.get(), width);
    }
    store_rows<float>({to_rows_.get(), width, chunk.queries, n_.features},
                      row_of<float>(args_.grad_q, batch_, kv_head_ * group_ + g, chunk.query),
                      args_.grad_q.row, {});
  }

  void give_keys() const {
    clear(sums_, n_.value_dim * keys_.width());
    clear(sum_, keys_.width());
    forget(chunks_.seen_by(n_.queries), n_.keys);
    for (int64_t i = chunks_.count() - 1; i >= 0; --i) give_keys(chunks_[i]);
    in_pieces(0, chunks_.seen_by(0), [&](int64_t first, int64_t count) {
      load_later(first, count);
      store_keys(first, count);
    });
  }

  // Keys that no query sees.
  void forget(int64_t begin, int64_t end) const {
    for (int64_t j = begin; j < end; ++j) {
      std::fill_n(row_of<float>(args_.grad_k, batch_, kv_head_, j), n_.features, 0.0f);
      std::fill_n(row_of<float>(args_.grad_v, batch_, kv_head_, j), n_.value_dim, 0.0f);
    }
  }

  // What keys get from the queries of later chunks, which see them all. Values' lie the other way round.
  void load_later(int64_t first, int64_t count) const {
    const Rows<float> values = value_rows(first, count);
    const auto rows = static_cast<int32_t>(count);
    sum_values({values.data, values.stride, sums(), rows}, to_rows_.get(), keys_.width());
    sum_values({ones_.get(), 1, sum(), rows, {}, true}, to_rows_.get(), keys_.width());
    const int64_t width = round_up(count, 16);
    pack_transposed<float, float>(key_rows(first, count), width, turned_keys_.get());
    sum_values({sums_.get(),
                keys_.width(),
                {turned_keys_.get(), width, n_.features, width},
                static_cast<int32_t>(n_.value_dim)},
               to_values_.get(), width);
  }

  void store_keys(int64_t first, int64_t count) const {
    store_rows<float>({to_rows_.get(), keys_.width(), count, n_.features},
                      row_of<float>(args_.grad_k, batch_, kv_head_, first), args_.grad_k.row, {});
    store_columns<float>({to_values_.get(), round_up(count, 16), count, n_.value_dim},
                         row_of<float>(args_.grad_v, batch_, kv_head_, first), args_.grad_v.row, {});
  }

  // The chunk's own queries join those of later ones when its keys have what those give.
  void give_keys(const LinearChunk& chunk) const {
    if (chunk.keys > 0) {
      load_later(chunk.key, chunk.keys);
      turn_values(chunk);
    }
    for (int64_t g = 0; g < group_; ++g) {
      const Rows<float> q = query_rows(chunk, g), whole = queries_.of(q);
      load_given(chunk, g);
      if (chunk.keys > 0) add_pairs(chunk, g, q, whole);
      absorb_queries(chunk, g, whole);
    }
    if (chunk.keys > 0) store_keys(chunk.key, chunk.keys);
  }

  void add_pairs(const LinearChunk& chunk, int64_t g, const Rows<float>& q, const Rows<float>& whole) const {
    const int64_t width = chunk.width();
    load_slopes(chunk, g);
    sum_values({q.data,
                q.stride,
                {turned_keys_.get(), width, n_.features, width},
                static_cast<int32_t>(chunk.queries)},
               pairs_.get(), width);
    chunk.hide(pairs_.get());
    sum_values_by_columns({slopes_.get(), width, whole, static_cast<int32_t>(chunk.keys), {}, true},
                          to_rows_.get(), keys_.width());
    sum_values_by_columns({given_.get(),
                           n_.value_dim,
                           {pairs_.get(), width, chunk.queries, width},
                           static_cast<int32_t>(n_.value_dim),
                           {},
                           true},
                          to_values_.get(), width);
  }

  void absorb_queries(const LinearChunk& chunk, int64_t g, const Rows<float>& q) const {
    sum_values_by_columns({given_.get(), n_.value_dim, q, static_cast<int32_t>(n_.value_dim), {}, true},
                          sums_.get(), keys_.width());
    sum_values({of_sums(g, chunk.query), chunk.queries, q, 1, {}, true}, sum_.get(), keys_.width());
  }

  const LinearBackwardArgs& args_;
  const LinearSizes& n_;
  int64_t group_;
  LinearChunks chunks_;
  WholeRows queries_, keys_;
  Buffer<float> sums_, sum_, turned_values_, turned_keys_, slopes_, pairs_;
  Buffer<float> given_;      // g
  Buffer<float> of_sums_;    // (group, N): c
  Buffer<float> to_rows_;    // the gradients of a chunk's queries, or of its keys
  Buffer<float> to_values_;  // those of its values, (Dv, keys)
  Buffer<float> ones_;
  int64_t batch_ = 0, kv_head_ = 0;
};

template <class Head, class Args>
void run_heads(const Args& args) {
  for_each_task(
      args.n.batch * args.n.kv_heads, [&] { return Head(args); },
      [&](Head& head, int64_t task) { head.run(task / args.n.kv_heads, task % args.n.kv_heads); });
}

}  // namespace

void linear_forward(const LinearForwardArgs& args) { run_heads<LinearHead>(args); }

void linear_backward(const LinearBackwardArgs& args) { run_heads<LinearHeadGradient>(args); }

}  // namespace fovea::kernels
