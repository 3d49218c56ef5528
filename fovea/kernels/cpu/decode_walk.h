#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/decode_parts.h"
#include "fovea/kernels/cpu/decode_poison.h"
#include "fovea/kernels/cpu/decode_rows.h"
#include "fovea/kernels/cpu/decode_sight.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/softmax_rows.h"
#include "fovea/kernels/cpu/tile_programs.h"
#include "fovea/kernels/decode_args.h"

namespace fovea::kernels {

/// The rows of a group, walked over one part of the keys, block by block. T is the operands' type.
template <class T>
class PartWalker {
 public:
  PartWalker(const DecodeArgs& args, const DecodeParts& parts)
      : args_(args),
        parts_(parts),
        group_(args.n),
        products_(decode_kernels(args.type)),
        softmax_(softmax_kernels(Type::f32)),
        q_(group_.rows * packed_width(args.n.dim)),
        scores_(group_.rows * kBlock),
        rescale_(group_.rows),
        poison_(group_.rows, args.n.value_dim, kBlock) {
    std::fill(scores_.get(), scores_.get() + group_.rows * kBlock, 0.0f);
  }

  void run(int64_t task) {
    const int64_t part = task % parts_.count(), kv = task / parts_.count();
    task_ = task;
    sight_.emplace(args_, kv / args_.n.kv_heads, kv % args_.n.kv_heads);
    begin_ = part * DecodeParts::kKeys;
    end_ = std::min(begin_ + DecodeParts::kKeys, sight_->length());
    clear();
    if (begin_ >= end_ || sight_->seen(begin_, end_) == Cover::skip) return;
    load_queries();
    walk(/*sort_out=*/false);
    // Rare: then values that are not finite are kept from the rows that do not see them.
    if (!is_all_finite()) {
      clear();
      walk(/*sort_out=*/true);
    }
  }

 private:
  static constexpr int64_t kBlock = 128;

  struct Block {
    int64_t begin, end;
    bool partial;
  };

  void clear() {
    std::fill(parts_.maximum(task_), parts_.maximum(task_) + group_.rows, -kInfinity);
    std::fill(parts_.sum(task_), parts_.sum(task_) + group_.rows, 0.0f);
    std::fill(parts_.out(task_), parts_.out(task_) + parts_.out_size(), 0.0f);
  }

  bool is_all_finite() const {
    const float* out = parts_.out(task_);
    bool finite = true;
    for (int64_t i = 0; i < parts_.out_size(); ++i) finite &= is_finite(out[i]);
    return finite;
  }

  void load_queries() {
    const T* first = static_cast<const T*>(args_.q.data) + sight_->batch() * args_.q.batch;
    for (int64_t r = 0; r < group_.rows; ++r) {
      const T* row =
          first + sight_->head(r / args_.n.queries) * args_.q.head + r % args_.n.queries * args_.q.row;
      products_.pack(row, args_.n.dim, 1.0f, q_.get() + r * packed_width(args_.n.dim));
    }
  }

  // The next block from `begin` on that anyone sees; at the end an empty one.
  Block next_block(int64_t begin) const {
    for (; begin < end_; begin += kBlock) {
      const int64_t end = std::min(begin + kBlock, end_);
      const Cover covered = sight_->seen(begin, end);
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
    const int64_t batch = sight_->batch();
    const T* first = static_cast<const T*>(t.data) + sight_->kv_head() * t.head;
    const Pages& pages = args_.pages;
    if (!pages.table) first += batch * t.batch;
    int64_t i = 0;
    for (int64_t j = block.begin; j < block.end; ++j, ++i) {
      rows[i] = pages.table ? first + pages.table[batch * pages.row + j / pages.size] * t.batch +
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
    const TileRange range = sight_->range(block.begin, block.end, h);
    float* scores = scores_.get() + h * args_.n.queries * kBlock;
    const ScoreTile tile{scores + sight_->absent() * kBlock,
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
      const int64_t shown = sight_->shown(r, block.begin, count);
      std::fill(scores + r * kBlock + shown, scores + r * kBlock + tile.columns, -kInfinity);
    }
  }

  void weigh(const Block& block, bool sort_out) {
    const auto count = static_cast<int32_t>(block.end - block.begin);
    if (sort_out) poison_.take(scores_.get(), count, values_.data());
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
    if (sort_out) poison_.spread(products_, scores_.get(), parts_.out(task_));
  }

  const DecodeArgs& args_;
  const DecodeParts& parts_;
  DecodeGroup group_;
  DecodeKernels products_;
  SoftmaxKernels softmax_;
  Buffer<float> q_, scores_, rescale_;
  std::array<const void*, kBlock> keys_, values_;
  DecodePoison<T> poison_;
  std::optional<DecodeSight> sight_;
  float factor_ = 0.0f;
  int64_t task_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace fovea::kernels
