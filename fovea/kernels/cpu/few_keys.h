#pragma once
#include <algorithm>
#include <cstdint>

#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/finite_rows.h"
#include "fovea/kernels/cpu/one_pass.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/softmax_rows.h"
#include "fovea/kernels/cpu/spoilt_pairs.h"
#include "fovea/kernels/cpu/tile_programs.h"
#include "fovea/kernels/cpu/tile_rows.h"
#include "fovea/kernels/cpu/value_sums.h"

namespace fovea::kernels {

/// The most keys that pay: without a mask, and under one, where all keys are computed whatever it hides.
inline constexpr int64_t kMostKeys = 512, kMostMaskedKeys = 64;
/// Floats of its keys and values, which every few rows read: a part of the second-level cache.
inline constexpr int64_t kMostNumbers = 1 << 16;

/// Whether a call's rows of scores are short enough for FewKeys, and its functors and operands such as that
/// takes.
inline bool has_few_keys(const ForwardArgs& args) {
  const int64_t most = hides(args.programs) ? kMostMaskedKeys : kMostKeys;
  return args.type == Type::f32 && args.n.keys >= 1 && args.n.keys <= most &&
         args.n.keys * (args.n.dim + args.n.value_dim) <= kMostNumbers && args.n.value_dim % 16 == 0 &&
         args.scale > 0.0f && args.dropout.threshold == 0 &&
         args.normaliser.kind == Normaliser::Kind::softmax;
}

/// Queries of a head whose rows of scores lie in the first-level cache, some at a time: whole rows need
/// neither an online softmax nor sums of values in memory, and q and v are read where they are. One a thread.
class FewKeys {
 public:
  explicit FewKeys(const ForwardArgs& args)
      : args_(args),
        softmax_(softmax_kernels(Type::f32)),
        columns_(round_up(args.n.keys, 16)),
        rows_(std::max<int64_t>(kTileSize / columns_ / kRowStep * kRowStep, kRowStep)),
        key_stride_(columns_ % 256 == 0 ? columns_ + 16 : columns_),
        keys_(key_stride_ * args.n.dim),
        scores_(rows_ * columns_),
        state_(3 * rows_) {}

  /// The results of the queries [q0, q0 + count) of a head.
  void run(int64_t batch, int64_t head, int64_t q0, int64_t count) {
    load(batch, head / (args_.n.heads / args_.n.kv_heads));
    for (int64_t begin = q0; begin < q0 + count; begin += rows_) {
      attend(batch, head, begin, std::min(rows_, q0 + count - begin));
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
    const auto k = rows_of<float>(args_.k, batch, kv_head, 0, args_.n.keys, args_.n.dim);
    pack_transposed(k, key_stride_, keys_.get());
    values_.load(rows_of<float>(args_.v, batch, kv_head, 0, args_.n.keys, args_.n.value_dim));
  }

  void attend(int64_t batch, int64_t head, int64_t q0, int64_t count) {
    const auto rows = static_cast<int32_t>(count);
    const float factor = score(batch, head, q0, rows);
    const auto is_seen = [&](int64_t r, int64_t c) { return scores_[r * columns_ + c] != -kInfinity; };
    spoilt_.find(values_.spoilt(), 0, count, columns_, is_seen);
    const SoftmaxState state{maximum(), sum(), rescale()};
    begin_rows(state, count, sink_score(args_.normaliser, head));
    softmax_.rows({scores_.get(), nullptr, columns_, rows, static_cast<int32_t>(columns_), factor}, state);
    weigh_values(batch, head, q0, rows);
  }

  // Returns the factor that takes the scores to units of log2.
  float score(int64_t batch, int64_t head, int64_t q0, int32_t rows) {
    const auto q = rows_of<float>(args_.q, batch, head, q0, rows, args_.n.dim);
    const bool scaled = has_scores(args_.programs);
    const ProductOperands<float> operands{q.data, keys_.get(), q.dim, q.stride, key_stride_};
    multiply(operands, scaled ? args_.scale : 1.0f,
             {scores_.get(), columns_, rows, static_cast<int32_t>(columns_)});
    const TileRange range{
        q0, q0 + rows, 0, args_.n.keys, static_cast<int32_t>(batch), static_cast<int32_t>(head)};
    const ScoreTile tile = plain_tile(range, columns_, scores_.get());
    run_programs(args_.programs, &TileProgram::plain, tile, range, /*partial=*/true);
    hide_columns(tile, args_.n.keys);
    return scaled ? kLog2E : args_.scale * kLog2E;
  }

  void weigh_values(int64_t batch, int64_t head, int64_t q0, int32_t rows) {
    const int64_t dim = args_.n.value_dim, first = (batch * args_.n.heads + head) * args_.n.queries + q0;
    float* inverse = rescale();  // which nothing reads any more
    for (int32_t r = 0; r < rows; ++r) {
      inverse[r] = sum()[r] == 0.0f ? 0.0f : 1.0f / sum()[r];
      if (args_.lse) args_.lse[first + r] = natural_lse(maximum()[r], sum()[r]);
    }
    float* out = row_of<float>(args_.out, batch, head, q0);
    sum_values({scores_.get(), columns_, values_.finite(), rows, {.by_row = inverse}}, out, args_.out.row);
    spoilt_.spread([&](int64_t r, int64_t c) { return scores_[r * columns_ + c] * inverse[r]; },
                   [&](int64_t c) { return values_.given(c); }, dim, out, args_.out.row);
    if (!args_.unrounded) return;
    store_rows<float>({out, args_.out.row, rows, dim}, args_.unrounded + first * dim, dim, {});
  }

  float* maximum() const { return state_.get(); }
  float* sum() const { return state_.get() + rows_; }
  float* rescale() const { return state_.get() + 2 * rows_; }

  const ForwardArgs& args_;
  SoftmaxKernels softmax_;
  int64_t columns_, rows_, key_stride_;  // the last keeps keys apart in the first-level cache
  int64_t head_ = -1;                    // of keys and values
  FiniteRows values_;
  SpoiltPairs spoilt_;
  Buffer<float> keys_, scores_, state_;  // keys transposed
};

}  // namespace fovea::kernels
