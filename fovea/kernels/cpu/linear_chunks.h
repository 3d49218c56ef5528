#pragma once
#include <algorithm>
#include <cstdint>

#include "fovea/core/ceil_div.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/linear_args.h"

// What both directions of linear attention in causal order walk over.

namespace fovea::kernels {

/// Positions of a chunk. Measured: of fewer the products take longer, of more too many pairs are hidden.
inline constexpr int64_t kLinearChunk = 32;

/// Queries, and the keys that some of them see and some may not: those before are seen by all, those after by
/// none. Query p of the chunk sees its keys c <= p + diagonal.
struct LinearChunk {
  int64_t query, queries, key, keys, diagonal;

  int64_t width() const { return round_up(keys, 16); }

  /// Calls visit(first, count, seen) for each half: those queries see the first `seen` keys at most, so that
  /// a quarter of the pairs need no product. Of smaller parts the products take longer than that saves.
  template <class Visit>
  void in_parts(const Visit& visit) const {
    constexpr int64_t kPart = kLinearChunk / 2;
    for (int64_t first = 0; first < queries; first += kPart) {
      const int64_t count = std::min(kPart, queries - first);
      visit(first, count, std::clamp<int64_t>(first + count + diagonal, 0, keys));
    }
  }

  /// 0 in the place of the pairs (queries, width()) that are not seen.
  void hide(float* pairs) const {
    for (int64_t p = 0; p < queries; ++p) {
      float* row = pairs + p * width();
      std::fill(row + std::clamp<int64_t>(p + diagonal + 1, 0, keys), row + width(), 0.0f);
    }
  }
};

class LinearChunks {
 public:
  explicit LinearChunks(const LinearSizes& n) : n_(n) {}

  int64_t count() const { return ceil_div(n_.queries, kLinearChunk); }
  LinearChunk operator[](int64_t i) const {
    const int64_t first = i * kLinearChunk, end = std::min(first + kLinearChunk, n_.queries);
    const int64_t key = seen_by(first);
    return {first, end - first, key, seen_by(end) - key, first + n_.shift - key};
  }
  /// Keys before it are seen by all queries from `position` on.
  int64_t seen_by(int64_t position) const { return std::clamp<int64_t>(position + n_.shift, 0, n_.keys); }

 private:
  const LinearSizes& n_;
};

/// Calls visit(first, count) with [begin, end) in pieces of a chunk.
template <class Visit>
void in_pieces(int64_t begin, int64_t end, const Visit& visit) {
  for (; begin < end; begin += kLinearChunk) visit(begin, std::min(kLinearChunk, end - begin));
}

/// Rows as sum_values() reads values: themselves, or copies in whole vectors, where they are none or where
/// their distance would crowd the first-level cache.
class WholeRows {
 public:
  explicit WholeRows(int64_t dim) : width_(round_up(dim, 16)), room_(kLinearChunk * width_) {}

  Rows<float> of(const Rows<float>& rows) const {
    constexpr int64_t kCrowded = 256;
    if (rows.dim == width_ && rows.stride % kCrowded != 0) return rows;
    for (int64_t r = 0; r < rows.count; ++r) {
      float* to = room_.get() + r * width_;
      std::copy_n(rows.data + r * rows.stride, rows.dim, to);
      std::fill(to + rows.dim, to + width_, 0.0f);
    }
    return {room_.get(), width_, rows.count, width_};
  }
  int64_t width() const { return width_; }

 private:
  int64_t width_;
  Buffer<float> room_;
};

}  // namespace fovea::kernels
