#pragma once
#include <algorithm>
#include <cstdint>

#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/finite_rows.h"
#include "fovea/kernels/cpu/gradient_rows.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/packed_queries.h"
#include "fovea/kernels/cpu/spoilt_pairs.h"
#include "fovea/kernels/cpu/tile_programs.h"
#include "fovea/kernels/cpu/turned_rows.h"
#include "fovea/kernels/cpu/value_sums.h"

namespace fovea::kernels {

/// The most queries, and keys, whose pairs pay as one tile.
inline constexpr int64_t kMostPairs = 256;
inline bool is_one_tile(const AttendSizes& n) { return n.queries <= kMostPairs && n.keys <= kMostPairs; }

/// Keys of a tile under a mask; those of a block, of which it is asked first; and the most queries that see
/// one of a block.
inline constexpr int64_t kTileKeys = 16, kBlockKeys = 128, kMostQueries = 640;

/// Whether a mask lets few queries see the keys of each block, from the first to the last of them.
inline bool is_seen_by_few(const BackwardArgs& args) {
  const auto seen_by_few = [&](const TileRange& keys) {
    const TileRange seen = seen_queries(args.programs, keys);
    return seen.q1 - seen.q0 <= kMostQueries;
  };
  return cuts(args.programs) && all_blocks(args.n, &TileRange::k0, &TileRange::k1, kBlockKeys, seen_by_few);
}

/// Whether a call is such as FewGradient takes: all pairs of a head in one tile, or of some keys that a mask
/// lets few queries see.
inline bool has_few_pairs(const BackwardArgs& args) {
  const AttendSizes& n = args.n;
  if (args.type != Type::f32 || n.heads != n.kv_heads || n.queries < 1 || n.keys < 1 || n.dim % 16 != 0 ||
      n.value_dim % 16 != 0 || !(args.scale > 0.0f) || args.dropout.threshold != 0 ||
      args.normaliser.kind != Normaliser::Kind::softmax) {
    return false;
  }
  return is_one_tile(n) || is_seen_by_few(args);
}

/// The gradients of one head whose scores lie in the caches, all at once or tile by tile: operands are read,
/// and gradients written, where they are. Rows of a tile are keys, columns queries. One a thread.
class FewGradient {
 public:
  explicit FewGradient(const BackwardArgs& args)
      : args_(args),
        kernels_(gradient_kernels(Type::f32)),
        whole_(is_one_tile(args.n) && (!cuts(args.programs) || args.n.keys <= kUncutKeys)),
        tile_keys_(whole_ ? args.n.keys : kTileKeys),
        size_(round_up(tile_keys_, 16) * round_up(std::min(args.n.queries, kMostQueries), 16)),
        learns_(learns(args.programs)),
        queries_(args.n.queries, args.n.dim),
        grads_(args.n.queries, args.n.value_dim),
        lse_(round_up(args.n.queries, 16)),
        delta_(round_up(args.n.queries, 16)),
        scores_(size_),
        by_weight_(size_),
        slopes_(has_slopes(args.programs) ? size_ : 0),
        results_(learns_ ? size_ : 0),
        given_(learns_ ? size_ : 0) {}

  void run(int64_t chunk, int64_t head) {
    const int64_t end = std::min((chunk + 1) * args_.chunk, args_.n.batch);
    for (int64_t batch = chunk * args_.chunk; batch < end; ++batch) run_entry(chunk, batch, head);
  }

 private:
  void run_entry(int64_t chunk, int64_t batch, int64_t head) {
    load(batch, head);
    float* grad_q = row_of<float>(args_.grad_q, batch, head, 0);
    if (!whole_) fill_rows(grad_q);
    for (int64_t k0 = 0; k0 < args_.n.keys; k0 += tile_keys_) {
      move(batch, head, k0);
      if (columns() > 0) {
        weigh();
        differentiate();
        learn(args_.programs, transposed_tile(range_, columns(), given_.get(), results_.get()), chunk, head);
      }
      store();
    }
    if (!whole_) scale_rows(grad_q);
  }

  // To the keys from k0 on and the queries that see them. Of a block's, of which has_few_pairs() asked, there
  // are few, whatever a mask says of a part of it.
  void move(int64_t batch, int64_t head, int64_t k0) {
    range_ = {0,
              args_.n.queries,
              k0,
              std::min(k0 + tile_keys_, args_.n.keys),
              static_cast<int32_t>(batch),
              static_cast<int32_t>(head)};
    if (whole_) return;
    if (k0 % kBlockKeys == 0) {
      block_ = range_;
      block_.k1 = std::min(k0 + kBlockKeys, args_.n.keys);
      block_ = seen_queries(args_.programs, block_);
    }
    range_.q0 = block_.q0;
    range_.q1 = block_.q1;
    range_ = seen_queries(args_.programs, range_, 16);
  }

  void load(int64_t batch, int64_t head) {
    const AttendSizes& n = args_.n;
    q_.load(rows_of<float>(args_.q, batch, head, 0, n.queries, n.dim));
    g_.load(rows_of<float>(args_.grad_out, batch, head, 0, n.queries, n.value_dim));
    k_.load(rows_of<float>(args_.k, batch, head, 0, n.keys, n.dim));
    v_ = rows_of<float>(args_.v, batch, head, 0, n.keys, n.value_dim);
    queries_.load(q_.given());
    grads_.load(g_.given());
    load_row_sums(args_, g_.given(), (batch * n.heads + head) * n.queries, round_up(n.queries, 16),
                  lse_.get(), delta_.get());
    if (args_.grad_sinks) {
      args_.grad_sinks[batch * n.heads + head] = sink_gradient(args_, batch, head, lse_.get(), delta_.get());
    }
  }

  int32_t keys() const { return static_cast<int32_t>(range_.k1 - range_.k0); }
  int64_t columns() const { return round_up(range_.q1 - range_.q0, 16); }

  ProductTile tile(float* products) const {
    return {products, columns(), keys(), static_cast<int32_t>(columns())};
  }

  GradientTile gradient_tile(float factor) const {
    return {.scores = scores_.get(),
            .grad = by_weight_.get(),
            .slopes = has_slopes(args_.programs) ? slopes_.get() : nullptr,
            .results = learns_ ? results_.get() : nullptr,
            .weights_bf16 = nullptr,
            .grad_bf16 = nullptr,
            .grad_pairs = nullptr,
            .stride = columns(),
            .rows = keys(),
            .columns = static_cast<int32_t>(columns()),
            .factor = factor};
  }

  // P^T.
  void weigh() {
    const bool scaled = has_scores(args_.programs);
    const Rows<float>& k = k_.given();
    queries_.multiply(k.data + range_.k0 * k.stride, k.stride, range_.q0, scaled ? args_.scale : 1.0f,
                      tile(scores_.get()));
    if (has_slopes(args_.programs)) std::fill_n(slopes_.get(), keys() * columns(), 1.0f);
    run_programs(args_.programs, &TileProgram::transposed,
                 transposed_tile(range_, columns(), scores_.get(), slopes_.get()), range_,
                 /*partial=*/true, learns_ ? given_.get() : nullptr);
    kernels_.weights(gradient_tile(scaled ? kLog2E : args_.scale * kLog2E), lse_.get() + range_.q0);
  }

  // dS^T.
  void differentiate() {
    grads_.multiply(v_.data + range_.k0 * v_.stride, v_.stride, range_.q0, 1.0f, tile(by_weight_.get()));
    kernels_.scores(gradient_tile(1.0f), delta_.get() + range_.q0);
  }

  static Rows<float> part(Rows<float> rows, int64_t begin, int64_t end) {
    rows.data += begin * rows.stride;
    rows.count = end - begin;
    return rows;
  }

  void store() {
    const Factors scale{.all = args_.scale};
    const Rows<float> q = part(q_.finite(), range_.q0, range_.q1),
                      g = part(g_.finite(), range_.q0, range_.q1),
                      k = part(k_.finite(), range_.k0, range_.k1);
    float* grad_v = row_of<float>(args_.grad_v, range_.batch, range_.head, range_.k0);
    sum_values({scores_.get(), columns(), g, keys(), {}}, grad_v, args_.grad_v.row);
    spread_poison(grad_v);
    sum_values({by_weight_.get(), columns(), q, keys(), scale},
               row_of<float>(args_.grad_k, range_.batch, range_.head, range_.k0), args_.grad_k.row);
    sum_values_by_columns({by_weight_.get(), columns(), k, static_cast<int32_t>(q.count),
                           whole_ ? scale : Factors{}, /*add=*/!whole_},
                          row_of<float>(args_.grad_q, range_.batch, range_.head, range_.q0),
                          args_.grad_q.row);
  }

  void spread_poison(float* grad_v) {
    const auto weight = [&](int64_t r, int64_t c) { return scores_[r * columns() + c]; };
    spoilt_.find(g_.spoilt(), -range_.q0, keys(), columns(),
                 [&](int64_t r, int64_t c) { return weight(r, c) != 0.0f; });
    spoilt_.spread(
        weight, [&](int64_t c) { return g_.given(range_.q0 + c); }, args_.n.value_dim, grad_v,
        args_.grad_v.row);
  }

  // Tiles add to the gradients of queries.
  void fill_rows(float* grad_q) const {
    for (int64_t q = 0; q < args_.n.queries; ++q)
      std::fill_n(grad_q + q * args_.grad_q.row, args_.n.dim, 0.0f);
  }
  void scale_rows(float* grad_q) const {
    store_rows<float>({grad_q, args_.grad_q.row, args_.n.queries, args_.n.dim}, grad_q, args_.grad_q.row,
                      {.all = args_.scale});
  }

  const BackwardArgs& args_;
  GradientKernels kernels_;
  bool whole_;  // one tile
  int64_t tile_keys_, size_;
  bool learns_;
  FiniteRows q_, g_, k_;
  Rows<float> v_{};
  TurnedRows queries_, grads_;
  TileRange range_{}, block_{};
  SpoiltPairs spoilt_;
  Buffer<float> lse_, delta_, scores_, by_weight_, slopes_, results_, given_;
};

}  // namespace fovea::kernels
