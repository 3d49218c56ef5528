#include <algorithm>

#include "fovea/kernels/cpu/linear_features.h"
#include "fovea/kernels/cpu/linear_walk.h"
#include "fovea/kernels/cpu/value_sums.h"

namespace fovea::kernels {
namespace {

// Of one head of keys. In the names, g are the gradients of a chunk's results over their sums of weights, and
// c those of the sums: a pair's slope is g_i . v_j + c_i.
template <class Features>
class LinearHeadGradient {
 public:
  explicit LinearHeadGradient(const LinearBackwardArgs& args)
      : args_(args),
        n_(args.n),
        group_(n_.heads / n_.kv_heads),
        chunks_(n_),
        query_features_(n_.features),
        key_features_(n_.features),
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
    return rows_of<float>(args_.q, batch_, kv_head_ * group_ + g, chunk.query, chunk.queries, n_.features);
  }
  Rows<float> key_rows(int64_t first, int64_t count) const {
    return rows_of<float>(args_.k, batch_, kv_head_, first, count, n_.features);
  }
  // Features, until those of other keys are asked for.
  Rows<float> keys_at(int64_t first, int64_t count) const { return key_features_.of(key_rows(first, count)); }
  Rows<float> value_rows(int64_t first, int64_t count) const {
    return rows_of<float>(args_.v, batch_, kv_head_, first, count, n_.value_dim);
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
        const Rows<float> out = rows_of<float>(args_.out, batch_, head, first, count, n_.value_dim);
        store_rows<float>(out, given_.get(), n_.value_dim, {});
        dot_rows(rows_of<float>(args_.grad_out, batch_, head, first, count, n_.value_dim), given_.get(),
                 of_sums(g, first));
        for (int64_t r = 0; r < count; ++r) of_sums(g, first)[r] *= -reciprocals(g, first)[r];
      });
    }
  }

  // g of a chunk, (queries, Dv).
  void load_given(const LinearChunk& chunk, int64_t g) const {
    const Rows<float> rows = rows_of<float>(args_.grad_out, batch_, kv_head_ * group_ + g, chunk.query,
                                            chunk.queries, n_.value_dim);
    store_rows<float>(rows, given_.get(), n_.value_dim,
                      {.by_row = args_.reciprocals ? reciprocals(g, chunk.query) : nullptr});
  }

  void load_slopes(const LinearChunk& chunk, int64_t g) const {
    multiply_seen(chunk, {given_.get(), n_.value_dim, chunk.queries, n_.value_dim}, turned_values_,
                  of_sums(g, chunk.query), slopes_);
  }

  // rows . turned of the pairs that are seen, and what is added to a row's.
  void multiply_seen(const LinearChunk& chunk, const Rows<float>& rows, const Buffer<float>& turned,
                     const float* added, const Buffer<float>& to) const {
    const int64_t width = chunk.width();
    chunk.in_parts([&](int64_t first, int64_t count, int64_t seen) {
      const int64_t columns = round_up(seen, 16);
      sum_values({rows.data + first * rows.stride,
                  rows.stride,
                  {turned.get(), width, rows.dim, columns},
                  static_cast<int32_t>(count)},
                 to.get() + first * width, width);
      for (int64_t p = first; added != nullptr && p < first + count; ++p) {
        for (int64_t j = 0; j < columns; ++j) to[p * width + j] += added[p];
      }
    });
    chunk.hide(to.get());
  }

  void turn_values(const LinearChunk& chunk) const {
    pack_transposed<float, float>(value_rows(chunk.key, chunk.keys), chunk.width(), turned_values_.get());
  }

  void give_queries() const {
    clear(sums_, n_.value_dim * keys_.width());
    clear(sum_, keys_.width());
    in_pieces(0, chunks_[0].key,
              [&](int64_t first, int64_t count) { absorb_keys(keys_.of(keys_at(first, count)), first); });
    for (int64_t i = 0; i < chunks_.count(); ++i) {
      const LinearChunk chunk = chunks_[i];
      const Rows<float> keys = keys_.of(keys_at(chunk.key, chunk.keys));
      if (chunk.keys > 0) turn_values(chunk);
      for (int64_t g = 0; g < group_; ++g) give_queries(chunk, keys, g);
      if (i + 1 < chunks_.count() && chunk.keys > 0) absorb_keys(keys, chunk.key);
    }
  }

  // Keys from `first` on.
  void absorb_keys(const Rows<float>& keys, int64_t first) const {
    const Rows<float> values = value_rows(first, keys.count);
    sum_values_by_columns({values.data, values.stride, keys, static_cast<int32_t>(n_.value_dim), {}, true},
                          sums_.get(), keys_.width());
    sum_values({ones_.get(), keys.count, keys, 1, {}, true}, sum_.get(), keys_.width());
  }

  void give_queries(const LinearChunk& chunk, const Rows<float>& keys, int64_t g) const {
    const auto rows = static_cast<int32_t>(chunk.queries);
    const int64_t width = keys_.width();
    load_given(chunk, g);
    sum_values({given_.get(), n_.value_dim, sums(), rows}, to_rows_.get(), width);
    sum_values({of_sums(g, chunk.query), 1, sum(), rows, {}, true}, to_rows_.get(), width);
    if (chunk.keys > 0) {
      load_slopes(chunk, g);
      chunk.in_parts([&](int64_t first, int64_t count, int64_t seen) {
        sum_values({slopes_.get() + first * chunk.width(),
                    chunk.width(),
                    {keys.data, keys.stride, seen, keys.dim},
                    static_cast<int32_t>(count),
                    {},
                    true},
                   to_rows_.get() + first * width, width);
      });
    }
    Features::store_gradients({to_rows_.get(), width, chunk.queries, n_.features}, query_rows(chunk, g),
                              row_of<float>(args_.grad_q, batch_, kv_head_ * group_ + g, chunk.query),
                              args_.grad_q.row);
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
    pack_transposed<float, float>(keys_at(first, count), width, turned_keys_.get());
    sum_values({sums_.get(),
                keys_.width(),
                {turned_keys_.get(), width, n_.features, width},
                static_cast<int32_t>(n_.value_dim)},
               to_values_.get(), width);
  }

  void store_keys(int64_t first, int64_t count) const {
    Features::store_gradients({to_rows_.get(), keys_.width(), count, n_.features}, key_rows(first, count),
                              row_of<float>(args_.grad_k, batch_, kv_head_, first), args_.grad_k.row);
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
      const Rows<float> q = query_features_.of(query_rows(chunk, g)), whole = queries_.of(q);
      load_given(chunk, g);
      if (chunk.keys > 0) add_pairs(chunk, g, q, whole);
      absorb_queries(chunk, g, whole);
    }
    if (chunk.keys > 0) store_keys(chunk.key, chunk.keys);
  }

  void add_pairs(const LinearChunk& chunk, int64_t g, const Rows<float>& q, const Rows<float>& whole) const {
    const int64_t width = chunk.width();
    load_slopes(chunk, g);
    multiply_seen(chunk, q, turned_keys_, nullptr, pairs_);
    chunk.in_parts([&](int64_t first, int64_t count, int64_t seen) {
      sum_values_by_columns({slopes_.get() + first * width,
                             width,
                             {whole.data + first * whole.stride, whole.stride, count, whole.dim},
                             static_cast<int32_t>(seen),
                             {},
                             true},
                            to_rows_.get(), keys_.width());
      sum_values_by_columns({given_.get() + first * n_.value_dim,
                             n_.value_dim,
                             {pairs_.get() + first * width, width, count, round_up(seen, 16)},
                             static_cast<int32_t>(n_.value_dim),
                             {},
                             true},
                            to_values_.get(), width);
    });
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
  Features query_features_, key_features_;
  WholeRows queries_, keys_;
  Buffer<float> sums_, sum_, turned_values_, turned_keys_, slopes_, pairs_;
  Buffer<float> given_;      // g
  Buffer<float> of_sums_;    // (group, N): c
  Buffer<float> to_rows_;    // the gradients of a chunk's queries, or of its keys
  Buffer<float> to_values_;  // those of its values, (Dv, keys)
  Buffer<float> ones_;
  int64_t batch_ = 0, kv_head_ = 0;
};

}  // namespace

void linear_backward(const LinearBackwardArgs& args) { run_linear_heads<LinearHeadGradient>(args); }

}  // namespace fovea::kernels
