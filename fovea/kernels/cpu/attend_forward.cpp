#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <unistd.h>

#include <cmath>
#include <limits>
#include <type_traits>

#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/packed_keys.h"
#include "fovea/kernels/cpu/parallel.h"
#include "fovea/kernels/cpu/softmax_rows.h"
#include "fovea/kernels/cpu/tile_product.h"

namespace fovea::kernels {
namespace {

constexpr float kLog2E = 1.4426950408889634f, kLn2 = 0.6931471805599453f;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
// A mask is asked about pieces of so many keys, and so many queries.
constexpr int64_t kKeyPiece = 128, kQueryPiece = 64;

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
        state_(3 * capacity_) {
    runs_.reserve(kBlock / kKeyPiece);
  }

  void run(int64_t batch, int64_t head, int64_t q0) {
    batch_ = batch;
    head_ = head;
    kv_head_ = batch * args_.n.kv_heads + head / (args_.n.heads / args_.n.kv_heads);
    q0_ = q0;
    rows_ = std::min(args_.n.queries - q0, capacity_);
    load_queries();
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

  // A block is padded with rows of 0 to a multiple of 16, and rows to the keys' packed dim.
  void load_queries() {
    const T* q = static_cast<const T*>(args_.q.data) + batch_ * args_.q.batch + head_ * args_.q.head +
                 q0_ * args_.q.row;
    const int64_t dim = packed_.dim();
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t d = 0; d < args_.n.dim; ++d) q_[r * dim + d] = C(q[r * args_.q.row + d]);
      std::fill(q_.get() + r * dim + args_.n.dim, q_.get() + (r + 1) * dim, C(0));
    }
    std::fill(q_.get() + rows_ * dim, q_.get() + round_up(rows_, 16) * dim, C(0));
  }

  Cover cover(int64_t begin, int64_t end, int64_t first_row, int64_t n_rows) const {
    if (!args_.program.cover) return Cover::full;
    return args_.program.cover(args_.program.functors,
                               {q0_ + first_row, q0_ + first_row + n_rows, begin, std::min(end, args_.n.keys),
                                static_cast<int32_t>(batch_), static_cast<int32_t>(head_)});
  }

  // The rows of a partly hidden piece that see any of it lie between the first and the last slice that does.
  Run seen_part(int64_t begin, int64_t end) const {
    int64_t first = 0, last = rows_;
    const auto slice_is_hidden = [&](int64_t row) {
      return cover(begin, end, row, std::min(kQueryPiece, rows_ - row)) == Cover::skip;
    };
    while (first < rows_ && slice_is_hidden(first)) first += kQueryPiece;
    while (last > first && slice_is_hidden((last - 1) / kQueryPiece * kQueryPiece)) {
      last = (last - 1) / kQueryPiece * kQueryPiece;
    }
    return {begin, end, first, std::max<int64_t>(last - first, 0), true};
  }

  void find_runs(int64_t k0) {
    runs_.clear();
    const int64_t end = k0 + packed_.width(k0);
    for (int64_t piece = k0; piece < end; piece += kKeyPiece) {
      const int64_t piece_end = std::min(piece + kKeyPiece, end);
      const Cover seen = cover(piece, piece_end, 0, rows_);
      if (seen == Cover::skip) continue;
      const Run run =
          seen == Cover::full ? Run{piece, piece_end, 0, rows_, false} : seen_part(piece, piece_end);
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
    const float factor = shape_scores(run, columns);
    find_poison(k0, run, columns);
    weigh(run, columns, factor);
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

  // Scale, score functor, mask functor, and the keys that only pad the block. Returns what takes the scores
  // to units of log2; a mask's -inf must not meet a factor below or equal to 0.
  float shape_scores(const Run& run, int64_t columns) {
    const ScoreTile tile{scores_.get(),
                         columns,
                         static_cast<int32_t>(q0_ + run.first_row),
                         static_cast<int32_t>(run.begin),
                         static_cast<int32_t>(run.n_rows),
                         static_cast<int32_t>(columns),
                         static_cast<int32_t>(batch_),
                         static_cast<int32_t>(head_)};
    float factor = args_.scale * kLog2E;
    if (args_.program.score || !(factor > 0.0f)) {
      for (int64_t i = 0; i < run.n_rows * columns; ++i) scores_[i] *= args_.scale;
      factor = kLog2E;
    }
    if (args_.program.score) args_.program.score(args_.program.functors, tile);
    if (run.partial) args_.program.mask(args_.program.functors, tile);
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
    const int64_t value_dim = args_.n.value_dim;
    T* out = static_cast<T*>(args_.out.data) + batch_ * args_.out.batch + head_ * args_.out.head +
             q0_ * args_.out.row;
    for (int64_t r = 0; r < rows_; ++r) {
      const float inverse = sum()[r] == 0.0f ? 0.0f : 1.0f / sum()[r];
      const float* from = out_.get() + r * value_dim;
      for (int64_t d = 0; d < value_dim; ++d) out[r * args_.out.row + d] = rounded<T>(from[d] * inverse);
    }
    const int64_t first = (batch_ * args_.n.heads + head_) * args_.n.queries + q0_;
    for (int64_t r = 0; args_.unrounded && r < rows_; ++r) {
      const float inverse = sum()[r] == 0.0f ? 0.0f : 1.0f / sum()[r];
      for (int64_t d = 0; d < value_dim; ++d) {
        args_.unrounded[(first + r) * value_dim + d] = out_[r * value_dim + d] * inverse;
      }
    }
    if (!args_.lse) return;
    float* lse = args_.lse + first;
    for (int64_t r = 0; r < rows_; ++r) {
      lse[r] = sum()[r] == 0.0f ? -kInfinity : (maximum()[r] + std::log2(sum()[r])) * kLn2;
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
  switch (args.type) {
    case Type::f32:
      return forward<float, float>(args);
    case Type::bf16:
      return has_bf16_products() ? forward<c10::BFloat16, c10::BFloat16>(args)
                                 : forward<c10::BFloat16, float>(args);
    case Type::f16:
      return forward<c10::Half, float>(args);
  }
}

}  // namespace fovea::kernels
