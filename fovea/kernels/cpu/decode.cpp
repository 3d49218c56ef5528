#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/decode_rows.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/parallel.h"
#include "fovea/kernels/cpu/softmax_rows.h"
#include "fovea/kernels/cpu/tile_programs.h"
#include "fovea/kernels/decode_args.h"

namespace fovea::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Keys of a tile of scores, and of a part, which one thread walks.
constexpr int64_t kBlock = 128, kPart = 512;

// The query rows that share a KV head: those of its first query head, then of the next.
struct Group {
  explicit Group(const AttendSizes& n) : heads(n.heads / n.kv_heads), rows(heads * n.queries) {}
  int64_t heads, rows;
};

// What is known of each row after each part, one task after the other.
class Parts {
 public:
  explicit Parts(const AttendSizes& n)
      : count_((n.keys + kPart - 1) / kPart),
        rows_(Group(n).rows),
        width_(packed_width(n.value_dim)),
        state_(tasks(n) * rows_ * 2),
        out_(tasks(n) * rows_ * width_) {}

  int64_t tasks(const AttendSizes& n) const { return n.batch * n.kv_heads * count_; }
  int64_t count() const { return count_; }
  float* maximum(int64_t task) const { return state_.get() + task * rows_ * 2; }
  float* sum(int64_t task) const { return maximum(task) + rows_; }
  /// Rows x packed_width(value_dim), not yet divided by the sum.
  float* out(int64_t task) const { return out_.get() + task * rows_ * width_; }
  int64_t out_size() const { return rows_ * width_; }

 private:
  int64_t count_, rows_, width_;
  Buffer<float> state_, out_;
};

// Queries of one sequence: which positions they have, and how many keys.
struct Sequence {
  int64_t length, first_query;
  bool ends_with_queries;
};

Sequence sequence(const DecodeArgs& args, int64_t batch) {
  if (!args.lengths) return {args.n.keys, 0, false};
  return {args.lengths[batch], args.lengths[batch] - args.n.queries, true};
}

// The rows of a group, walked over one part of the keys.
template <class T>
class PartWalker {
 public:
  PartWalker(const DecodeArgs& args, const Parts& parts)
      : args_(args),
        parts_(parts),
        group_(args.n),
        products_(decode_kernels(args.type)),
        softmax_(softmax_kernels(Type::f32)),
        q_(group_.rows * packed_width(args.n.dim)),
        scores_(group_.rows * kBlock),
        rescale_(group_.rows) {
    std::fill(scores_.get(), scores_.get() + group_.rows * kBlock, 0.0f);
  }

  void run(int64_t task) {
    const int64_t part = task % parts_.count(), kv = task / parts_.count();
    task_ = task;
    batch_ = kv / args_.n.kv_heads;
    kv_head_ = kv % args_.n.kv_heads;
    sequence_ = sequence(args_, batch_);
    absent_ = std::max<int64_t>(-sequence_.first_query, 0);
    begin_ = part * kPart;
    end_ = std::min(begin_ + kPart, sequence_.length);
    clear();
    if (begin_ >= end_ || seen(begin_, end_) == Cover::skip) return;
    load_queries();
    walk(/*sort_out=*/false);
    // Rare: then values that are not finite are kept from the rows that do not see them.
    if (!all_finite()) {
      clear();
      walk(/*sort_out=*/true);
    }
  }

 private:
  struct Block {
    int64_t begin, end;
    bool partial;
  };
  // A value that is not all finite: what a sum of finite values left out, and the weights of those who see
  // it.
  struct Poison {
    const T* value;
    int32_t column;
    std::vector<int64_t> rows;
  };

  void clear() {
    std::fill(parts_.maximum(task_), parts_.maximum(task_) + group_.rows, -kInfinity);
    std::fill(parts_.sum(task_), parts_.sum(task_) + group_.rows, 0.0f);
    std::fill(parts_.out(task_), parts_.out(task_) + parts_.out_size(), 0.0f);
  }

  bool all_finite() const {
    const float* out = parts_.out(task_);
    bool finite = true;
    for (int64_t i = 0; i < parts_.out_size(); ++i) finite &= is_finite(out[i]);
    return finite;
  }

  void load_queries() {
    const T* first = static_cast<const T*>(args_.q.data) + batch_ * args_.q.batch;
    for (int64_t r = 0; r < group_.rows; ++r) {
      const T* row = first + head(r / args_.n.queries) * args_.q.head + r % args_.n.queries * args_.q.row;
      products_.pack(row, args_.n.dim, 1.0f, q_.get() + r * packed_width(args_.n.dim));
    }
  }

  int64_t head(int64_t of_group) const { return kv_head_ * group_.heads + of_group; }

  // Queries before the start of their sequence are left out: no functor is asked about them.
  TileRange range(int64_t begin, int64_t end, int64_t h) const {
    return {sequence_.first_query + absent_,
            sequence_.first_query + args_.n.queries,
            begin,
            end,
            static_cast<int32_t>(batch_),
            static_cast<int32_t>(head(h))};
  }

  // What the heads of the group see of keys [begin, end).
  Cover seen(int64_t begin, int64_t end) const {
    const int64_t last = sequence_.first_query + args_.n.queries - 1;
    if (sequence_.ends_with_queries && begin > last) return Cover::skip;
    bool none = true, all = !sequence_.ends_with_queries || end - 1 <= sequence_.first_query;
    for (int64_t h = 0; h < group_.heads; ++h) {
      const Cover covered = cover(args_.programs, range(begin, end, h));
      none = none && covered == Cover::skip;
      all = all && covered == Cover::full;
    }
    return none ? Cover::skip : all ? Cover::full : Cover::partial;
  }

  // The next block from `begin` on that anyone sees; at the end an empty one.
  Block next_block(int64_t begin) const {
    for (; begin < end_; begin += kBlock) {
      const int64_t end = std::min(begin + kBlock, end_);
      const Cover covered = seen(begin, end);
      if (covered != Cover::skip) return {begin, end, covered == Cover::partial};
    }
    return {end_, end_, false};
  }

  void walk(bool sort_out) {
    Block block = next_block(begin_);
    find_rows(args_.k, block, keys_);
    while (block.begin < end_) {
      const Block next = next_block(block.begin + kBlock);
      find_rows(args_.v, block, values_);
      score(block);
      find_rows(args_.k, next, keys_);
      weigh(block, sort_out);
      block = next;
    }
  }

  // Where the rows of keys or values stand.
  void find_rows(const Operand& t, const Block& block, std::array<const void*, kBlock>& rows) const {
    const T* first = static_cast<const T*>(t.data) + kv_head_ * t.head;
    const Pages& pages = args_.pages;
    if (!pages.table) first += batch_ * t.batch;
    int64_t i = 0;
    for (int64_t j = block.begin; j < block.end; ++j, ++i) {
      rows[i] = pages.table ? first + pages.table[batch_ * pages.row + j / pages.size] * t.batch +
                                  j % pages.size * t.row
                            : first + j * t.row;
    }
    // What is fetched ahead is as long as what is there.
    std::fill(rows.begin() + i, rows.end(), i ? rows[i - 1] : first);
  }

  // Leaves scores of the block, hidden ones -inf, and what takes them to units of log2.
  void score(const Block& block) {
    const auto count = static_cast<int32_t>(block.end - block.begin);
    products_.dot(
        {q_.get(), group_.rows, args_.n.dim, {keys_.data(), count, values_.data()}, scores_.get(), kBlock});
    for (int64_t h = 0; h < group_.heads; ++h) shape(block, h);
  }

  // The scores of one head of the group.
  void shape(const Block& block, int64_t h) {
    const int64_t count = block.end - block.begin;
    const TileRange range = this->range(block.begin, block.end, h);
    float* scores = scores_.get() + h * args_.n.queries * kBlock;
    const ScoreTile tile{scores + absent_ * kBlock,
                         nullptr,
                         kBlock,
                         static_cast<int32_t>(range.q0),
                         static_cast<int32_t>(range.k0),
                         static_cast<int32_t>(range.q1 - range.q0),
                         static_cast<int32_t>(round_up(count, 16)),
                         range.batch,
                         range.head};
    factor_ = shape_scores(args_.programs, &TileProgram::plain, tile, range, block.partial, args_.scale);
    for (int64_t r = 0; r < args_.n.queries; ++r) {
      int64_t shown = count;
      if (sequence_.ends_with_queries) {
        shown = std::clamp<int64_t>(sequence_.first_query + r + 1 - block.begin, 0, count);
      }
      std::fill(scores + r * kBlock + shown, scores + r * kBlock + tile.columns, -kInfinity);
    }
  }

  void weigh(const Block& block, bool sort_out) {
    const auto count = static_cast<int32_t>(block.end - block.begin);
    if (sort_out) take_poison(count);
    const SoftmaxTile tile{scores_.get(),
                           nullptr,
                           kBlock,
                           static_cast<int32_t>(group_.rows),
                           static_cast<int32_t>(round_up(count, 16)),
                           factor_};
    softmax_.rows(tile, {parts_.maximum(task_), parts_.sum(task_), rescale_.get()});
    const int64_t width = packed_width(args_.n.value_dim);
    softmax_.rescale(parts_.out(task_), width, tile.rows, static_cast<int32_t>(width), rescale_.get());
    products_.sum({scores_.get(),
                   kBlock,
                   group_.rows,
                   args_.n.value_dim,
                   {values_.data(), count, keys_.data()},
                   parts_.out(task_)});
    if (sort_out) spread_poison();
  }

  // Puts finite copies in the place of values that are not, as even times a weight of 0 they would be NaN;
  // asked before the scores become weights.
  void take_poison(int32_t count) {
    const int64_t dim = args_.n.value_dim;
    poison_.clear();
    finite_.resize(kBlock * dim);
    for (int32_t c = 0; c < count; ++c) {
      const T* value = static_cast<const T*>(values_[c]);
      if (std::all_of(value, value + dim, [](T x) { return is_finite(x); })) continue;
      Poison found{value, c, {}};
      for (int64_t r = 0; r < group_.rows; ++r) {
        if (scores_[r * kBlock + c] != -kInfinity) found.rows.push_back(r);
      }
      poison_.push_back(std::move(found));
      values_[c] = finite_.data() + c * dim;
      std::transform(value, value + dim, finite_.data() + c * dim,
                     [](T x) { return is_finite(x) ? x : T(0.0f); });
    }
  }

  void spread_poison() {
    const int64_t dim = args_.n.value_dim, width = packed_width(dim);
    std::vector<T> rest(dim);
    std::vector<float> weighted(width);
    for (const Poison& poison : poison_) {
      std::transform(poison.value, poison.value + dim, rest.begin(),
                     [](T x) { return is_finite(x) ? T(0.0f) : x; });
      for (const int64_t r : poison.rows) {
        products_.pack(rest.data(), dim, scores_[r * kBlock + poison.column], weighted.data());
        float* out = parts_.out(task_) + r * width;
        for (int64_t d = 0; d < width; ++d) out[d] += weighted[d];
      }
    }
  }

  const DecodeArgs& args_;
  const Parts& parts_;
  Group group_;
  DecodeKernels products_;
  SoftmaxKernels softmax_;
  Buffer<float> q_, scores_, rescale_;
  std::array<const void*, kBlock> keys_, values_;
  std::vector<Poison> poison_;
  std::vector<T> finite_;
  Sequence sequence_{};
  float factor_ = 0.0f;
  int64_t absent_ = 0;  // queries before the start of the sequence
  int64_t task_ = 0, batch_ = 0, kv_head_ = 0, begin_ = 0, end_ = 0;
};

// Adds up the parts of a KV head's rows, in their order.
template <class T>
class Merger {
 public:
  Merger(const DecodeArgs& args, const Parts& parts)
      : args_(args),
        parts_(parts),
        group_(args.n),
        unpack_(decode_kernels(args.type).unpack),
        sum_(packed_width(args.n.value_dim)),
        row_(args.n.value_dim) {}

  void run(int64_t kv) {
    const int64_t batch = kv / args_.n.kv_heads, first_head = kv % args_.n.kv_heads * group_.heads;
    for (int64_t r = 0; r < group_.rows; ++r) {
      const int64_t head = first_head + r / args_.n.queries, query = r % args_.n.queries;
      const State state = merge(kv * parts_.count(), r);
      unpack_(sum_.get(), args_.n.value_dim, state.sum == 0.0f ? 0.0f : 1.0f / state.sum, row_.get());
      store_rows({row_.get(), args_.n.value_dim, 1, args_.n.value_dim},
                 row_of<T>(args_.out, batch, head, query), args_.out.row, {});
      if (args_.lse) {
        args_.lse[(batch * args_.n.heads + head) * args_.n.queries + query] =
            state.sum == 0.0f ? -kInfinity : (state.maximum + std::log2(state.sum)) * kLn2;
      }
    }
  }

 private:
  struct State {
    float maximum, sum;
  };

  // Leaves the row's sum of values in sum_.
  State merge(int64_t first, int64_t r) {
    const int64_t width = packed_width(args_.n.value_dim);
    float maximum = -kInfinity, total = 0.0f;
    for (int64_t i = first; i < first + parts_.count(); ++i) {
      maximum = std::max(maximum, parts_.maximum(i)[r]);
    }
    std::fill(sum_.get(), sum_.get() + width, 0.0f);
    for (int64_t i = first; i < first + parts_.count(); ++i) {
      if (parts_.sum(i)[r] == 0.0f) continue;
      const float scale = std::exp2(parts_.maximum(i)[r] - maximum);
      const float* out = parts_.out(i) + r * width;
      total += scale * parts_.sum(i)[r];
      for (int64_t d = 0; d < width; ++d) sum_[d] += scale * out[d];
    }
    return {maximum, total};
  }

  const DecodeArgs& args_;
  const Parts& parts_;
  Group group_;
  void (*unpack_)(const float*, int64_t, float, float*);
  Buffer<float> sum_, row_;
};

template <class T>
void decode_as(const DecodeArgs& args) {
  const Parts parts(args.n);
  for_each_task(
      parts.tasks(args.n), [&] { return PartWalker<T>(args, parts); },
      [](PartWalker<T>& walker, int64_t task) { walker.run(task); });
  for_each_task(
      args.n.batch * args.n.kv_heads, [&] { return Merger<T>(args, parts); },
      [](Merger<T>& merger, int64_t kv) { merger.run(kv); });
}

}  // namespace

void decode(const DecodeArgs& args) {
  if (args.n.batch * args.n.heads * args.n.queries == 0) return;
  switch (args.type) {
    case Type::f32:
      return decode_as<float>(args);
    case Type::bf16:
      return decode_as<c10::BFloat16>(args);
    case Type::f16:
      return decode_as<c10::Half>(args);
  }
}

}  // namespace fovea::kernels
