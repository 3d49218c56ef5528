#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>

#include "fovea/kernels/attend_args.h"
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
    walk_.for_each_run([this](int64_t k0, const Run& run, float factor) {
      sum_.add({walk_.kv_head(), k0, run.begin, run.columns(), run.first_row, run.n_rows}, walk_.tile(run),
               factor);
    });
    sum_.store(batch, head, q0, walk_.rows());
  }

 private:
  ScoreWalk<T, C> walk_;
  SoftmaxSum<T, C> sum_;
};

// Tasks come one by one, the last queries first: under a causal mask they see most keys.
template <class T, class C>
void forward(const ForwardArgs& args) {
  const PackedKeys<T, C> packed(args.n, args.k, args.v);
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
