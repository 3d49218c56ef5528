#pragma once
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/one_pass_softmax.h"
#include "fovea/kernels/cpu/packed_keys.h"
#include "fovea/kernels/cpu/tile_product.h"
#include "fovea/kernels/cpu/tile_programs.h"

// The scores of a call, tile by tile: rows are queries, and what the masks hide whole is left out.

namespace fovea::kernels {

/// A mask is asked about pieces of so many keys.
inline constexpr int64_t kKeyPiece = 64;

/// Queries of a block: as many as leave room for their scores in the second-level cache, but under a mask
/// few, which see the same keys.
inline int64_t query_block(TilePrograms programs) {
  static const int64_t most = sysconf(_SC_LEVEL2_CACHE_SIZE) >= (2 << 20) ? 256 : 128;
  return hides(programs) ? 128 : most;
}

/// Neighbouring pieces of keys that the same queries of a block see.
struct Run {
  int64_t begin, end;         // keys
  int64_t first_row, n_rows;  // queries, counted from the block's first
  bool partial;
  int64_t columns() const { return end - begin; }
};

/// What the scores of a call come from, beside its packed keys.
struct ScoreArgs {
  AttendSizes n;
  Operand q;
  float scale;
  TilePrograms programs;
};

/// The scores of the queries [q0, q0 + rows()) of one head, walked over its keys. T is the operands' type, C
/// that of the products. One a thread.
template <class T, class C>
class ScoreWalk {
 public:
  ScoreWalk(const ScoreArgs& args, const PackedKeys<T, C>& packed)
      : args_(args),
        packed_(packed),
        capacity_(std::min(query_block(args.programs), round_up(args.n.queries, 16))),
        q_(capacity_ * packed.dim()),
        scores_(capacity_ * tile_columns()) {
    runs_.reserve(kBlock / kKeyPiece);
  }

  /// Goes to the block of queries at q0.
  void load(int64_t batch, int64_t head, int64_t q0) {
    batch_ = static_cast<int32_t>(batch);
    head_ = static_cast<int32_t>(head);
    kv_head_ = batch * args_.n.kv_heads + head / (args_.n.heads / args_.n.kv_heads);
    q0_ = q0;
    rows_ = std::min(args_.n.queries - q0, capacity_);
    pack_padded(rows_of<T>(args_.q, batch, head, q0, rows_, args_.n.dim), q_.get());
  }

  /// visit(k0, run) for each tile in rising order of keys, of which k0 begins a packed block.
  template <class Visit>
  void for_each_run(const Visit& visit) {
    for (int64_t k0 = 0; k0 < args_.n.keys; k0 += kBlock) {
      find_runs(k0);
      for (const Run& run : runs_) visit(k0, run);
    }
  }

  /// Makes the scores() of a run: hidden pairs and keys that only pad the tile are -inf, and the result > 0
  /// takes the others to units of log2. Rows past the run's are left over.
  float multiply(int64_t k0, const Run& run) const {
    const auto height = product_rows<C>(run.n_rows, args_.n.queries);
    kernels::multiply(operands(k0, run), {scores_.get(), run.columns(), static_cast<int32_t>(height),
                                          static_cast<int32_t>(run.columns())});
    return shape(run);
  }

  /// Operands of a run's products, where those are its scores but for a factor > 0, which nothing hides.
  std::optional<ScoreProducts<C>> products(int64_t k0, const Run& run) const {
    if (run.partial || has_scores(args_.programs) || !(args_.scale > 0.0f)) return std::nullopt;
    return ScoreProducts<C>{operands(k0, run), args_.scale * kLog2E};
  }

  /// Rows are the columns() of the run apart.
  float* scores() const { return scores_.get(); }

  ScoreTile tile(const Run& run) const {
    return plain_tile(range(run.begin, run.end, run.first_row, run.n_rows), run.columns(), scores_.get());
  }

  /// The most queries of a block, and the most numbers of a tile.
  int64_t capacity() const { return capacity_; }
  int64_t tile_size() const { return capacity_ * tile_columns(); }

  int64_t kv_head() const { return kv_head_; }
  int64_t q0() const { return q0_; }
  int64_t rows() const { return rows_; }
  /// The block's first query among those of all heads.
  int64_t first() const { return (batch_ * args_.n.heads + head_) * args_.n.queries + q0_; }

 private:
  static constexpr int64_t kBlock = PackedKeys<T, C>::kBlock;

  int64_t tile_columns() const { return std::min(kBlock, round_up(args_.n.keys, kKeyStep<C>)); }

  TileRange range(int64_t begin, int64_t end, int64_t first_row, int64_t n_rows) const {
    return {q0_ + first_row, q0_ + first_row + n_rows, begin, std::min(end, args_.n.keys), batch_, head_};
  }

  void find_runs(int64_t k0) {
    runs_.clear();
    const int64_t end = k0 + packed_.width(k0);
    for (int64_t piece = k0; piece < end; piece += kKeyPiece) {
      const int64_t piece_end = std::min(piece + kKeyPiece, end);
      TileRange seen = range(piece, piece_end, 0, rows_);
      const Cover covered = cover(args_.programs, seen);
      if (covered == Cover::skip) continue;
      if (covered == Cover::partial) seen = seen_queries(args_.programs, seen);
      const Run run{piece, piece_end, seen.q0 - q0_, seen.q1 - seen.q0, covered == Cover::partial};
      if (run.n_rows == 0) continue;
      if (!runs_.empty() && joins(runs_.back(), run)) {
        runs_.back().end = run.end;
      } else {
        runs_.push_back(run);
      }
    }
  }

  static bool joins(const Run& a, const Run& b) {
    return a.end == b.begin && a.first_row == b.first_row && a.n_rows == b.n_rows && a.partial == b.partial;
  }

  ProductOperands<C> operands(int64_t k0, const Run& run) const {
    return {q_.get() + run.first_row * packed_.dim(), packed_.keys(kv_head_, k0, run.begin - k0),
            packed_.dim(), packed_.dim(), packed_.width(k0)};
  }

  // Also hides the keys that only pad the block.
  float shape(const Run& run) const {
    const ScoreTile tile = this->tile(run);
    const float factor =
        shape_scores(args_.programs, &TileProgram::plain, tile,
                     range(run.begin, run.end, run.first_row, run.n_rows), run.partial, args_.scale);
    hide_columns(tile, args_.n.keys - run.begin);
    return factor;
  }

  ScoreArgs args_;
  const PackedKeys<T, C>& packed_;
  TileProductScope scope_;
  int64_t capacity_;
  Buffer<C> q_;
  Buffer<float> scores_;
  std::vector<Run> runs_;
  int32_t batch_ = 0, head_ = 0;
  int64_t kv_head_ = 0, q0_ = 0, rows_ = 0;
};

}  // namespace fovea::kernels
