#pragma once
#include <algorithm>
#include <cstdint>

#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/finite_rows.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/score_walk.h"
#include "fovea/kernels/cpu/softmax_rows.h"
#include "fovea/kernels/cpu/spoilt_pairs.h"
#include "fovea/kernels/cpu/tile_programs.h"
#include "fovea/kernels/cpu/tile_rows.h"
#include "fovea/kernels/cpu/turned_rows.h"
#include "fovea/kernels/cpu/value_sums.h"

namespace fovea::kernels {

/// The most keys of a query that pay, and floats of them and their values, which every few rows read: a part
/// of the second-level cache.
inline constexpr int64_t kMostKeys = 512, kMostNumbers = 1 << 16;

/// The most keys that the queries of a block see, from the first to the last of them.
inline int64_t most_block_keys(const ForwardArgs& args) {
  return std::min(kMostKeys, kMostNumbers / (args.n.dim + args.n.value_dim)) + query_block(args.programs);
}

/// Whether a mask lets the queries of each block see so few.
inline bool sees_few_keys(const ForwardArgs& args) {
  const int64_t most = most_block_keys(args);
  const auto sees_few = [&](const TileRange& queries) {
    const TileRange seen = seen_keys(args.programs, queries, kKeyPiece);
    return seen.k1 - seen.k0 <= most;
  };
  return cuts(args.programs) &&
         all_blocks(args.n, &TileRange::q0, &TileRange::q1, query_block(args.programs), sees_few);
}

/// Whether a call's rows of scores are short enough for FewKeys, and its functors and operands such as that
/// takes.
inline bool has_few_keys(const ForwardArgs& args) {
  if (args.type != Type::f32 || args.n.keys < 1 || args.n.value_dim % 16 != 0 || !(args.scale > 0.0f) ||
      args.dropout.threshold != 0 || args.normaliser.kind != Normaliser::Kind::softmax) {
    return false;
  }
  if (args.n.keys <= kUncutKeys) return true;
  if (hides(args.programs)) return sees_few_keys(args);
  return args.n.keys <= std::min(kMostKeys, kMostNumbers / (args.n.dim + args.n.value_dim));
}

/// Queries of a head whose rows of scores lie in the first-level cache, some at a time: whole rows need
/// neither an online softmax nor sums of values in memory, and q and v are read where they are. Of keys under
/// a mask a row has those from the first to the last that it or its neighbours see. One a thread.
class FewKeys {
 public:
  explicit FewKeys(const ForwardArgs& args)
      : args_(args),
        softmax_(softmax_kernels(Type::f32)),
        cuts_(cuts(args.programs) && args.n.keys > kUncutKeys),
        most_columns_(round_up(cuts_ ? std::min(args.n.keys, most_block_keys(args)) : args.n.keys, 16)),
        rows_(cuts_ ? kRowStep
                    : std::max<int64_t>(kTileSize / most_columns_ / kRowStep * kRowStep, kRowStep)),
        keys_(args.n.keys, args.n.dim),
        scores_(rows_ * most_columns_),
        state_(3 * rows_) {}

  /// The results of the queries [q0, q0 + count) of a head.
  void run(int64_t batch, int64_t head, int64_t q0, int64_t count) {
    load(batch, head / (args_.n.heads / args_.n.kv_heads));
    TileRange block{q0, q0 + count, 0, args_.n.keys, static_cast<int32_t>(batch), static_cast<int32_t>(head)};
    if (cuts_) block = seen_keys(args_.programs, block, kKeyPiece);
    for (int64_t begin = q0; begin < q0 + count; begin += rows_) {
      range_ = block;
      range_.q0 = begin;
      range_.q1 = std::min(begin + rows_, q0 + count);
      if (cuts_) range_ = seen_keys(args_.programs, range_, 16);
      attend();
    }
  }

 private:
  // Floats of a tile of scores, which leave room for others in the first-level cache, and rows that the
  // products take at a time.
  static constexpr int64_t kTileSize = 4096, kRowStep = 12;

  void load(int64_t batch, int64_t kv_head) {
    const int64_t head = batch * args_.n.kv_heads + kv_head;
    if (head == head_) return;
    head_ = head;
    keys_.load(rows_of<float>(args_.k, batch, kv_head, 0, args_.n.keys, args_.n.dim));
    values_.load(rows_of<float>(args_.v, batch, kv_head, 0, args_.n.keys, args_.n.value_dim));
  }

  int32_t rows() const { return static_cast<int32_t>(range_.q1 - range_.q0); }
  int64_t columns() const { return round_up(range_.k1 - range_.k0, 16); }

  void attend() {
    const SoftmaxState state{maximum(), sum(), rescale()};
    begin_rows(state, rows(), sink_score(args_.normaliser, range_.head));
    const float factor = columns() > 0 ? score() : 1.0f;
    const auto is_seen = [&](int64_t r, int64_t c) { return scores_[r * columns() + c] != -kInfinity; };
    spoilt_.find(values_.spoilt(), -range_.k0, rows(), columns(), is_seen);
    if (columns() > 0) {
      softmax_.rows({scores_.get(), nullptr, columns(), rows(), static_cast<int32_t>(columns()), factor},
                    state);
    }
    weigh_values();
  }

  // Returns the factor that takes the scores to units of log2.
  float score() {
    const auto q = rows_of<float>(args_.q, range_.batch, range_.head, range_.q0, rows(), args_.n.dim);
    const bool scaled = has_scores(args_.programs);
    keys_.multiply(q.data, q.stride, range_.k0, scaled ? args_.scale : 1.0f,
                   {scores_.get(), columns(), rows(), static_cast<int32_t>(columns())});
    const ScoreTile tile = plain_tile(range_, columns(), scores_.get());
    run_programs(args_.programs, &TileProgram::plain, tile, range_, /*partial=*/true);
    hide_columns(tile, range_.k1 - range_.k0);
    return scaled ? kLog2E : args_.scale * kLog2E;
  }

  void weigh_values() {
    const int64_t dim = args_.n.value_dim,
                  first = (int64_t{range_.batch} * args_.n.heads + range_.head) * args_.n.queries + range_.q0;
    float* inverse = rescale();  // which nothing reads any more
    for (int32_t r = 0; r < rows(); ++r) {
      inverse[r] = sum()[r] == 0.0f ? 0.0f : 1.0f / sum()[r];
      if (args_.lse) args_.lse[first + r] = natural_lse(maximum()[r], sum()[r]);
    }
    Rows<float> values = values_.finite();
    values.data += range_.k0 * values.stride;
    values.count = range_.k1 - range_.k0;
    float* out = row_of<float>(args_.out, range_.batch, range_.head, range_.q0);
    sum_values({scores_.get(), columns(), values, rows(), {.by_row = inverse}}, out, args_.out.row);
    spoilt_.spread([&](int64_t r, int64_t c) { return scores_[r * columns() + c] * inverse[r]; },
                   [&](int64_t c) { return values_.given(range_.k0 + c); }, dim, out, args_.out.row);
    if (!args_.unrounded) return;
    store_rows<float>({out, args_.out.row, rows(), dim}, args_.unrounded + first * dim, dim, {});
  }

  float* maximum() const { return state_.get(); }
  float* sum() const { return state_.get() + rows_; }
  float* rescale() const { return state_.get() + 2 * rows_; }

  const ForwardArgs& args_;
  SoftmaxKernels softmax_;
  bool cuts_;
  int64_t most_columns_, rows_;
  int64_t head_ = -1;  // of keys and values
  TurnedRows keys_;
  FiniteRows values_;
  TileRange range_{};
  SpoiltPairs spoilt_;
  Buffer<float> scores_, state_;
};

}  // namespace fovea::kernels
