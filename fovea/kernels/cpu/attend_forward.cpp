#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <unistd.h>

#include <cmath>
#include <limits>
#include <type_traits>

#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/dropout_rows.h"
#include "fovea/kernels/cpu/packed_keys.h"
#include "fovea/kernels/cpu/parallel.h"
#include "fovea/kernels/cpu/softmax_rows.h"
#include "fovea/kernels/cpu/tile_product.h"
#include "fovea/kernels/cpu/tile_programs.h"

namespace fovea::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// A mask is asked about pieces of so many keys.
constexpr int64_t kKeyPiece = 128;

// Queries of a block: as many as leave room for their scores in the second-level cache.
int64_t query_block() {
  static const int64_t rows = sysconf(_SC_LEVEL2_CACHE_SIZE) >= (2 << 20) ? 256 : 128;
  return rows;
}

// Neighbouring pieces of keys that the same queries of a block see.
struct Run {
  int64_t begin, end;         // keys
  int64_t first_row, n_rows;  // queries, counted from the block's first
  bool partial;
};

// The queries [q0, q0 + rows) of one head, walked over its keys.
template <class T, class C>
class QueryBlock {
 public:
  QueryBlock(const ForwardArgs& args, const PackedKeys<T, C>& packed)
      : args_(args),
        packed_(packed),
        softmax_(softmax_kernels(std::is_same_v<C, float> ? Type::f32 : Type::bf16)),
        capacity_(std::min(query_block(), round_up(args.n.queries, 16))),
        q_(capacity_ * packed.dim()),
        scores_(capacity_ * tile_columns()),
        weights_(std::is_same_v<C, float> ? 0 : capacity_ * tile_columns()),
        out_(capacity_ * args.n.value_dim),
        state_(3 * capacity_),
        kept_(args.dropout.threshold ? capacity_ * tile_columns() / 16 : 0) {
    runs_.reserve(kBlock / kKeyPiece);
  }

  void run(int64_t batch, int64_t head, int64_t q0) {
    batch_ = batch;
    head_ = head;
    kv_head_ = batch * args_.n.kv_heads + head / (args_.n.heads / args_.n.kv_heads);
    q0_ = q0;
    rows_ = std::min(args_.n.queries - q0, capacity_);
    pack_padded(rows_of<T>(args_.q, batch, head, q0, rows_, args_.n.dim), q_.get());
    std::fill(state_.get(), state_.get() + capacity_, -kInfinity);
    std::fill(state_.get() + capacity_, state_.get() + 3 * capacity_, 0.0f);
    std::fill(out_.get(), out_.get() + capacity_ * args_.n.value_dim, 0.0f);
    for (int64_t k0 = 0; k0 < args_.n.keys; k0 += kBlock) {
      find_runs(k0);
      for (const Run& run : runs_) visit(k0, run);
    }
    store_result();
  }

 private:
  static constexpr int64_t kBlock = PackedKeys<T, C>::kBlock;

  int64_t tile_columns() const { return std::min(kBlock, round_up(args_.n.keys, 32)); }

  TileRange range(int64_t begin, int64_t end, int64_t first_row, int64_t n_rows) const {
    return {q0_ + first_row,
            q0_ + first_row + n_rows,
            begin,
            std::min(end, args_.n.keys),
            static_cast<int32_t>(batch_),
            static_cast<int32_t>(head_)};
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

  void visit(int64_t k0, const Run& run) {
    const int64_t columns = run.end - run.begin, height = round_up(run.n_rows, 16), dim = packed_.dim();
    const TileProduct score{height, columns, dim, dim, packed_.width(k0), columns, /*add=*/false};
    score(q_.get() + run.first_row * dim, packed_.keys(kv_head_, k0, run.begin - k0), scores_.get());
    const float factor = shape(run, columns);
    find_poison(k0, run, columns);
    weigh(run, columns, factor);
    if (args_.dropout.threshold) drop(run, columns);
    const int64_t value_dim = args_.n.value_dim;
    float* out = out_.get() + run.first_row * value_dim;
    const TileProduct value{height, value_dim, columns, columns, value_dim, value_dim};
    value(weights(), packed_.values(kv_head_, run.begin), out);
    spread_poison(run, columns);
  }

  const C* weights() const {
    if constexpr (std::is_same_v<C, float>) {
      return scores_.get();
    } else {
      return weights_.get();
    }
  }

  ScoreTile tile(const Run& run, int64_t columns) const {
    return {scores_.get(),
            nullptr,
            columns,
            static_cast<int32_t>(q0_ + run.first_row),
            static_cast<int32_t>(run.begin),
            static_cast<int32_t>(run.n_rows),
            static_cast<int32_t>(columns),
            static_cast<int32_t>(batch_),
            static_cast<int32_t>(head_)};
  }

  // Also hides the keys that only pad the block.
  float shape(const Run& run, int64_t columns) {
    const float factor =
        shape_scores(args_.programs, &TileProgram::plain, tile(run, columns),
                     range(run.begin, run.end, run.first_row, run.n_rows), run.partial, args_.scale);
    for (int64_t c = std::max(args_.n.keys - run.begin, int64_t{0}); c < columns; ++c) {
      for (int64_t r = 0; r < run.n_rows; ++r) scores_[r * columns + c] = -kInfinity;
    }
    return factor;
  }

  void weigh(const Run& run, int64_t columns, float factor) {
    const SoftmaxTile tile{scores_.get(),
                           weights_.get(),
                           columns,
                           static_cast<int32_t>(run.n_rows),
                           static_cast<int32_t>(columns),
                           factor};
    const SoftmaxState state{maximum() + run.first_row, sum() + run.first_row, rescale() + run.first_row};
    softmax_.rows(tile, state);
    const int64_t value_dim = args_.n.value_dim;
    softmax_.rescale(out_.get() + run.first_row * value_dim, value_dim, static_cast<int32_t>(run.n_rows),
                     static_cast<int32_t>(value_dim), state.rescale);
  }

  void drop(const Run& run, int64_t columns) {
    const DropoutKernels kernels = dropout_kernels();
    kernels.plain(args_.dropout, tile(run, columns), kept_.get());
    if constexpr (std::is_same_v<C, float>) {
      kernels.apply(scores_.get(), scores_.get(), kept_.get(), run.n_rows * columns, 1.0f);
    } else {
      kernels.apply_narrow(weights_.get(), kept_.get(), run.n_rows * columns);
    }
  }

  // Which rows see a value that is not finite; asked before the scores become weights.
  void find_poison(int64_t k0, const Run& run, int64_t columns) {
    poison_.clear();
    for (const int64_t key : packed_.poisoned(kv_head_, k0)) {
      const int64_t c = k0 + key - run.begin;
      if (c < 0 || c >= columns) continue;
      for (int64_t r = 0; r < run.n_rows; ++r) {
        if (scores_[r * columns + c] != -kInfinity) poison_.push_back({r, c});
      }
    }
  }

  // Adds what the packed values left out.
  void spread_poison(const Run& run, int64_t columns) {
    for (const auto [r, c] : poison_) {
      const T* value = packed_.given_values(kv_head_, run.begin + c);
      float* out = out_.get() + (run.first_row + r) * args_.n.value_dim;
      const auto weight = static_cast<float>(weights()[r * columns + c]);
      for (int64_t d = 0; d < args_.n.value_dim; ++d) {
        if (!is_finite(value[d])) out[d] += weight * static_cast<float>(value[d]);
      }
    }
  }

  // A sum of 0: the row saw no key.
  void store_result() {
    const int64_t value_dim = args_.n.value_dim,
                  first = (batch_ * args_.n.heads + head_) * args_.n.queries + q0_;
    T* out = static_cast<T*>(args_.out.data) + batch_ * args_.out.batch + head_ * args_.out.head +
             q0_ * args_.out.row;
    for (int64_t r = 0; r < rows_; ++r, out += args_.out.row) {
      float* row = out_.get() + r * value_dim;
      const float inverse = sum()[r] == 0.0f ? 0.0f : args_.dropout.scale / sum()[r];
      for (int64_t d = 0; d < value_dim; ++d) row[d] *= inverse;
      for (int64_t d = 0; d < value_dim; ++d) out[d] = rounded<T>(row[d]);
      if (args_.unrounded) std::copy(row, row + value_dim, args_.unrounded + (first + r) * value_dim);
      if (args_.lse) {
        args_.lse[first + r] = sum()[r] == 0.0f ? -kInfinity : (maximum()[r] + std::log2(sum()[r])) * kLn2;
      }
    }
  }

  float* maximum() const { return state_.get(); }
  float* sum() const { return state_.get() + capacity_; }
  float* rescale() const { return state_.get() + 2 * capacity_; }

  struct Poison {
    int64_t row, column;
  };

  const ForwardArgs& args_;
  const PackedKeys<T, C>& packed_;
  TileProductScope scope_;
  SoftmaxKernels softmax_;
  int64_t capacity_;
  Buffer<C> q_;
  Buffer<float> scores_;
  Buffer<C> weights_;
  Buffer<float> out_, state_;
  Buffer<uint16_t> kept_;
  std::vector<Run> runs_;
  std::vector<Poison> poison_;
  int64_t batch_ = 0, head_ = 0, kv_head_ = 0, q0_ = 0, rows_ = 0;
};

// Tasks come one by one, the last queries first: under a causal mask they see most keys.
template <class T, class C>
void forward(const ForwardArgs& args) {
  const PackedKeys<T, C> packed(args);
  const int64_t rows = query_block(), blocks = (args.n.queries + rows - 1) / rows;
  const int64_t heads = args.n.batch * args.n.heads;
  for_each_task(
      heads * blocks, [&] { return QueryBlock<T, C>(args, packed); },
      [&](QueryBlock<T, C>& block, int64_t task) {
        const int64_t head = task % heads;
        block.run(head / args.n.heads, head % args.n.heads, (blocks - 1 - task / heads) * rows);
      });
}

}  // namespace

void attend_forward(const ForwardArgs& args) {
  if (args.n.batch * args.n.heads * args.n.queries == 0) return;
  with_types(args.type, [&]<class T, class C>() { forward<T, C>(args); });
}

}  // namespace fovea::kernels
