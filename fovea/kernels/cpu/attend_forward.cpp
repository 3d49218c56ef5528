#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "fovea/core/ceil_div.h"
#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/few_keys.h"
#include "fovea/kernels/cpu/packed_keys.h"
#include "fovea/kernels/cpu/parallel.h"
#include "fovea/kernels/cpu/score_walk.h"
#include "fovea/kernels/cpu/softmax_sum.h"
#include "fovea/kernels/cpu/tile_product.h"

namespace fovea::kernels {
namespace {

// A block of queries of one head: its scores, walked over the keys, and the sum of values.
template <class T, class C>
class QueryBlock {
 public:
  QueryBlock(const ForwardArgs& args, const PackedKeys<T, C>& packed)
      : walk_({args.n, args.q, args.scale, args.programs}, packed),
        sum_(args, packed, walk_.capacity(), walk_.tile_size() / walk_.capacity()) {}

  void run(int64_t batch, int64_t head, int64_t q0) {
    walk_.load(batch, head, q0);
    sum_.clear(head);
    walk_.for_each_run([this](int64_t k0, const Run& run) { add(k0, run); });
    sum_.store(batch, head, q0, walk_.rows());
  }

 private:
  void add(int64_t k0, const Run& run) {
    const ScorePart part{walk_.kv_head(), k0, run.begin, run.columns(), run.first_row, run.n_rows};
    const ScoreTile tile = walk_.tile(run);
    const auto products = walk_.products(k0, run);
    if (products && sum_.add(part, tile, *products)) return;
    sum_.add(part, tile, walk_.multiply(k0, run));
  }

  ScoreWalk<T, C> walk_;
  SoftmaxSum<T, C> sum_;
};

// Of one length, the last queries first: under a causal mask they see most keys.
struct QueryBlocks {
  explicit QueryBlocks(const ForwardArgs& args)
      : rows(query_block(args.programs)), count(ceil_div(args.n.queries, rows)) {}
  int64_t first_query(int64_t i) const { return (count - 1 - i) * rows; }

  int64_t rows, count;
};

// The queries of one key head. Its keys are packed by the thread that needs them, and stay in its caches.
template <class T, class C>
class HeadQueries {
 public:
  explicit HeadQueries(const ForwardArgs& args)
      : n_(args.n),
        blocks_(args),
        packed_(PackedKeys<T, C>::one_head(args.n, args.k, args.v)),
        block_(args, packed_) {}
  HeadQueries(const HeadQueries&) = delete;
  HeadQueries& operator=(const HeadQueries&) = delete;

  void run(int64_t kv_head) {
    packed_.load(kv_head);
    const int64_t group = n_.heads / n_.kv_heads, first = kv_head % n_.kv_heads * group;
    for (int64_t head = first; head < first + group; ++head) {
      for (int64_t i = 0; i < blocks_.count; ++i) {
        block_.run(kv_head / n_.kv_heads, head, blocks_.first_query(i));
      }
    }
  }

 private:
  const AttendSizes& n_;
  QueryBlocks blocks_;
  PackedKeys<T, C> packed_;
  QueryBlock<T, C> block_;
};

template <class T, class C>
void by_heads(const ForwardArgs& args) {
  for_each_task(
      args.n.batch * args.n.kv_heads, [&] { return HeadQueries<T, C>(args); },
      [](HeadQueries<T, C>& head, int64_t task) { head.run(task); });
}

template <class T, class C>
void by_blocks(const ForwardArgs& args) {
  const PackedKeys<T, C> packed(args.n, args.k, args.v);
  const QueryBlocks blocks(args);
  const int64_t heads = args.n.batch * args.n.heads;
  for_each_task(
      heads * blocks.count, [&] { return QueryBlock<T, C>(args, packed); },
      [&](QueryBlock<T, C>& block, int64_t task) {
        const int64_t head = task % heads;
        block.run(head / args.n.heads, head % args.n.heads, blocks.first_query(task / heads));
      });
}

void by_few_keys(const ForwardArgs& args) {
  const QueryBlocks blocks(args);
  for_each_task(
      args.n.batch * args.n.heads * blocks.count, [&] { return FewKeys(args); },
      [&](FewKeys& keys, int64_t task) {
        const int64_t head = task / blocks.count, q0 = blocks.first_query(task % blocks.count);
        keys.run(head / args.n.heads, head % args.n.heads, q0, std::min(blocks.rows, args.n.queries - q0));
      });
}

// Few heads would leave threads without work at the end.
template <class T, class C>
void forward(const ForwardArgs& args) {
  const int64_t threads = at::get_num_threads();
  if (threads == 1 || args.n.batch * args.n.kv_heads >= 4 * threads) return by_heads<T, C>(args);
  by_blocks<T, C>(args);
}

}  // namespace

void attend_forward(const ForwardArgs& args) {
  if (args.n.batch * args.n.heads * args.n.queries == 0) return;
  if (has_few_keys(args)) return by_few_keys(args);
  with_types(args.type, [&]<class T, class C>() { forward<T, C>(args); });
}

}  // namespace fovea::kernels
