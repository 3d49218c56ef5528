#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>

#include "fovea/kernels/additive_args.h"
#include "fovea/kernels/cpu/additive_tile.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/packed_keys.h"
#include "fovea/kernels/cpu/parallel.h"
#include "fovea/kernels/cpu/softmax_sum.h"
#include "fovea/kernels/cpu/tile_product.h"
#include "fovea/kernels/cpu/tile_programs.h"

namespace fovea::kernels {
namespace {

constexpr int64_t kRows = 128, kKeyPiece = 128;

// NaN for the keys that hold one, otherwise 0: (head, key), as PackedKeys numbers them.
template <class T>
class KeyBase {
 public:
  KeyBase(const ForwardArgs& args, const PackedKeys<T, float>& packed)
      : padded_(round_up(args.n.keys, 32)), base_(args.n.batch * args.n.heads * padded_) {
    const int64_t blocks = (args.n.keys + packed.kBlock - 1) / packed.kBlock;
    for_each_task(
        args.n.batch * args.n.heads * blocks, [] { return 0; },
        [&](int, int64_t task) {
          const int64_t head = task / blocks, k0 = task % blocks * packed.kBlock, width = packed.width(k0);
          mark_nan_columns(packed.keys(head, k0, 0), args.n.dim, width, width,
                           base_.get() + head * padded_ + k0);
        });
  }
  const float* at(int64_t head, int64_t key) const { return base_.get() + head * padded_ + key; }

 private:
  int64_t padded_;
  Buffer<float> base_;
};

// The queries [q0, q0 + rows) of one head, walked over its keys.
template <class T>
class AdditiveBlock {
 public:
  AdditiveBlock(const AdditiveForwardArgs& args, const PackedKeys<T, float>& packed, const KeyBase<T>& base)
      : all_(args),
        args_(args.attend),
        packed_(packed),
        base_(base),
        capacity_(std::min(kRows, round_up(args_.n.queries, 16))),
        tile_(capacity_, kKeyPiece, args_.n.dim),
        scores_(capacity_ * kKeyPiece),
        sum_(args_, packed, capacity_, kKeyPiece) {
    std::fill(scores_.get(), scores_.get() + capacity_ * kKeyPiece, 0.0f);
  }

  void run(int64_t batch, int64_t head, int64_t q0) {
    batch_ = static_cast<int32_t>(batch);
    head_ = static_cast<int32_t>(head);
    q0_ = q0;
    rows_ = std::min(args_.n.queries - q0, capacity_);
    tile_.set_weights(all_.w + head * all_.w_head);
    tile_.load(rows_of<T>(args_.q, batch, head, q0, rows_, args_.n.dim));
    sum_.clear(head);
    for (int64_t k0 = 0; k0 < args_.n.keys; k0 += packed_.kBlock) {
      const int64_t end = k0 + packed_.width(k0);
      for (int64_t k = k0; k < end; k += kKeyPiece) visit(k0, k, std::min(k + kKeyPiece, end));
    }
    sum_.store(batch, head, q0, rows_);
  }

 private:
  void visit(int64_t k0, int64_t begin, int64_t end) {
    const TileRange range{q0_, q0_ + rows_, begin, std::min(end, args_.n.keys), batch_, head_};
    const Cover covered = cover(args_.programs, range);
    if (covered == Cover::skip) return;
    const int64_t kv_head = batch_ * args_.n.heads + head_, columns = end - begin;
    tile_.scores({packed_.keys(kv_head, k0, begin - k0), packed_.width(k0), base_.at(kv_head, begin),
                  static_cast<int32_t>(columns)},
                 scores_.get(), columns);
    const ScoreTile tile = plain_tile(range, columns, scores_.get());
    const float factor = shape_scores(args_.programs, &TileProgram::plain, tile, range,
                                      covered == Cover::partial, args_.scale);
    hide_columns(tile, range.k1 - begin);
    sum_.add({kv_head, k0, begin, columns, 0, rows_}, tile, factor);
  }

  const AdditiveForwardArgs& all_;
  const ForwardArgs& args_;
  const PackedKeys<T, float>& packed_;
  const KeyBase<T>& base_;
  TileProductScope scope_;
  int64_t capacity_;
  AdditiveTile tile_;
  Buffer<float> scores_;
  SoftmaxSum<T, float> sum_;
  int32_t batch_ = 0, head_ = 0;
  int64_t q0_ = 0, rows_ = 0;
};

// Tasks come one by one, the last queries first: under a causal mask they see most keys.
template <class T>
void forward(const AdditiveForwardArgs& args) {
  const AttendSizes& n = args.attend.n;
  const PackedKeys<T, float> packed(n, args.attend.k, args.attend.v);
  const KeyBase<T> base(args.attend, packed);
  const int64_t blocks = (n.queries + kRows - 1) / kRows, heads = n.batch * n.heads;
  for_each_task(
      heads * blocks, [&] { return AdditiveBlock<T>(args, packed, base); },
      [&](AdditiveBlock<T>& block, int64_t task) {
        const int64_t head = task % heads;
        block.run(head / n.heads, head % n.heads, (blocks - 1 - task / heads) * kRows);
      });
}

}  // namespace

void additive_forward(const AdditiveForwardArgs& args) {
  const AttendSizes& n = args.attend.n;
  if (n.batch * n.heads * n.queries == 0) return;
  with_types(args.attend.type, [&]<class T, class>() { forward<T>(args); });
}

}  // namespace fovea::kernels
