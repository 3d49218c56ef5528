#pragma once
#include <algorithm>
#include <cstdint>

#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/gradient_rows.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/tile_programs.h"

namespace fovea::kernels {

/// The tiles of a backward: rows are the keys of a block, columns those queries of another that see one of
/// them. One a thread.
class GradientWalk {
 public:
  static constexpr int64_t kKeyBlock = 128;

  /// For blocks of at most `query_block` queries and `key_block` keys.
  GradientWalk(const BackwardArgs& args, int64_t query_block, int64_t key_block = kKeyBlock)
      : args_(args),
        key_block_(key_block),
        size_(std::min(key_block, round_up(args.n.keys, 16)) * query_block),
        scores_(size_),
        grad_(size_),
        has_slopes_(has_slopes(args.programs)),
        slopes_(has_slopes_ ? size_ : 0) {}

  /// Goes to the block of keys at k0.
  void load(int64_t batch, int64_t head, int64_t k0) {
    batch_ = static_cast<int32_t>(batch);
    head_ = static_cast<int32_t>(head);
    k0_ = k0;
    keys_ = std::min(key_block_, args_.n.keys - k0);
  }

  /// Goes to a block of queries, padded to `width`; false where none sees a key.
  bool move(int64_t q0, int64_t width) {
    seen_ = {q0, std::min(q0 + width, args_.n.queries), k0_, k0_ + keys_, batch_, head_};
    const Cover covered = cover(args_.programs, seen_);
    if (covered == Cover::skip) return false;
    partial_ = covered == Cover::partial;
    if (partial_) seen_ = seen_queries(args_.programs, seen_);
    columns_ = std::min(round_up(seen_.q1 - seen_.q0, 16), width - (seen_.q0 - q0));
    return seen_.q0 < seen_.q1;
  }

  /// Takes the products in scores() to scores, as GradientKernels::weights wants them, and slopes to where
  /// functors have them. `given` as of shape_scores().
  GradientTile shape(float* given = nullptr) const {
    if (has_slopes_) {
      std::fill_n(slopes_.get(), keys_ * columns_, 1.0f);
      std::fill_n(slopes_.get() + keys_ * columns_, (height() - keys_) * columns_, 0.0f);
    }
    GradientTile shaped = tile();
    shaped.factor =
        shape_scores(args_.programs, &TileProgram::transposed, functor_tile(scores_.get(), slopes_.get()),
                     seen_, partial_, args_.scale, given);
    return shaped;
  }

  GradientTile tile() const {
    return {.scores = scores_.get(),
            .grad = grad_.get(),
            .slopes = has_slopes_ ? slopes_.get() : nullptr,
            .results = nullptr,
            .weights_bf16 = nullptr,
            .grad_bf16 = nullptr,
            .grad_pairs = nullptr,
            .stride = columns_,
            .rows = static_cast<int32_t>(keys_),
            .columns = static_cast<int32_t>(columns_),
            .factor = kLog2E};
  }

  /// The tile as functors see it.
  ScoreTile functor_tile(float* scores, float* slopes) const {
    return transposed_tile(seen_, columns_, scores, slopes);
  }

  /// Whether every query of the tile sees every key.
  bool whole() const { return !partial_; }

  float* scores() const { return scores_.get(); }
  float* grad() const { return grad_.get(); }

  int64_t head() const { return head_; }
  int64_t k0() const { return k0_; }
  int64_t keys() const { return keys_; }
  /// Keys padded with rows to a multiple of 16.
  int64_t height() const { return round_up(keys_, 16); }
  /// The first query that sees a key, how many follow, and how many columns they take, a multiple of 16.
  int64_t q0() const { return seen_.q0; }
  int64_t queries() const { return seen_.q1 - seen_.q0; }
  int64_t columns() const { return columns_; }
  /// The most numbers of a tile.
  int64_t size() const { return size_; }

 private:
  const BackwardArgs& args_;
  int64_t key_block_, size_;
  Buffer<float> scores_, grad_;
  bool has_slopes_;
  Buffer<float> slopes_;
  int32_t batch_ = 0, head_ = 0;
  int64_t k0_ = 0, keys_ = 0, columns_ = 0;
  TileRange seen_ = {};
  bool partial_ = false;
};

}  // namespace fovea::kernels
