#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <unistd.h>

#include <limits>

#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/packed_keys.h"
#include "fovea/kernels/cpu/parallel.h"
#include "fovea/kernels/cpu/softmax_sum.h"
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
        capacity_(std::min(query_block(), round_up(args.n.queries, 16))),
        q_(capacity_ * packed.dim()),
        sum_(args, packed, capacity_, std::min(kBlock, round_up(args.n.keys, 32))) {
    runs_.reserve(kBlock / kKeyPiece);
  }

  void run(int64_t batch, int64_t head, int64_t q0) {
    batch_ = batch;
    head_ = head;
    kv_head_ = batch * args_.n.kv_heads + head / (args_.n.heads / args_.n.kv_heads);
    q0_ = q0;
    rows_ = std::min(args_.n.queries - q0, capacity_);
    pack_padded(rows_of<T>(args_.q, batch, head, q0, rows_, args_.n.dim), q_.get());
    sum_.clear();
    for (int64_t k0 = 0; k0 < args_.n.keys; k0 += kBlock) {
      find_runs(k0);
      for (const Run& run : runs_) visit(k0, run);
    }
    sum_.store(batch_, head_, q0_, rows_);
  }

 private:
  static constexpr int64_t kBlock = PackedKeys<T, C>::kBlock;

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
    score(q_.get() + run.first_row * dim, packed_.keys(kv_head_, k0, run.begin - k0), sum_.scores());
    const float factor = shape(run, columns);
    sum_.add({kv_head_, k0, run.begin, columns, run.first_row, run.n_rows}, tile(run, columns), factor);
  }

  ScoreTile tile(const Run& run, int64_t columns) const {
    return {sum_.scores(),
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
      for (int64_t r = 0; r < run.n_rows; ++r) sum_.scores()[r * columns + c] = -kInfinity;
    }
    return factor;
  }

  const ForwardArgs& args_;
  const PackedKeys<T, C>& packed_;
  TileProductScope scope_;
  int64_t capacity_;
  Buffer<C> q_;
  SoftmaxSum<T, C> sum_;
  std::vector<Run> runs_;
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
