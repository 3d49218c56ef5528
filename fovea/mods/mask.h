#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/mods/at.h"
#include "fovea/mods/table.h"

// Masks: functors that say whether query at.q may see key at.k, and which rectangles of scores they leave
// whole or empty. A mask derives from Mask, has
//   template <class Q, class K>
//   auto operator()(const At<Q, K>& at) const;   // true = may attend: a bool, a vector of them, or a tensor
//   Cover cover(const TileRange& tile) const;    // `partial` is always right, only slower
//   static constexpr bool kQuickCover = true;    // may be left out
// and combines with & | !. A quick cover takes O(1), whatever the tile, and is asked about every few queries,
// so that where these see few keys, only those are computed. What derives from a quick mask is taken for one.

namespace fovea {

/// The base of every mask, by which & | ! find them.
struct Mask {};

template <class M>
concept MaskFunctor = std::is_base_of_v<Mask, M>;

template <class M>
inline constexpr bool kHasQuickCover = requires {
  requires M::kQuickCover;
};

/// Every pair.
struct All : Mask {
  static constexpr bool kQuickCover = true;
  template <class Q, class K>
  bool operator()(const At<Q, K>&) const {
    return true;
  }
  Cover cover(const TileRange&) const { return Cover::full; }
};

/// Keys at or before the query: k <= q + offset. offset = 0 aligns top left, keys - queries bottom right.
struct Causal : Mask {
  static constexpr bool kQuickCover = true;
  int32_t offset = 0;

  explicit Causal(int32_t offset = 0) : offset(offset) {}

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    return at.k <= at.q + offset;
  }
  Cover cover(const TileRange& t) const {
    if (t.k0 > t.q1 - 1 + offset) return Cover::skip;
    return t.k1 - 1 <= t.q0 + offset ? Cover::full : Cover::partial;
  }
};

/// Keys near the query: q - left <= k <= q + right, both inclusive.   left, right >= 0, or Window::kOpen.
/// Source: Longformer (Beltagy et al. 2020), 3.1.
struct Window : Mask {
  static constexpr bool kQuickCover = true;
  static constexpr int32_t kOpen = std::numeric_limits<int32_t>::max() / 2;
  int32_t left = kOpen, right = kOpen;

  Window(int32_t left, int32_t right) : left(left), right(right) {}

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    return (at.q - at.k <= left) & (at.k - at.q <= right);
  }
  Cover cover(const TileRange& t) const {
    if (t.q0 - (t.k1 - 1) > left || t.k0 - (t.q1 - 1) > right) return Cover::skip;
    return t.q1 - 1 - t.k0 <= left && t.k1 - 1 - t.q0 <= right ? Cover::full : Cover::partial;
  }
};

/// Every step-th key, counted from the query: (q - k) mod step = 0; with a Window, a dilated one.   Throws
/// fovea::Error (usage) unless step >= 1. Source: Longformer (Beltagy et al. 2020), 3.1.
struct Dilated : Mask {
  static constexpr bool kQuickCover = true;
  int32_t step;

  explicit Dilated(int32_t step) : step(step) {
    if (step < 1) {
      throw usage_error("Dilated", "the step must be 1 or more", std::to_string(step), "1 sees every key.");
    }
  }

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    return (at.q - at.k) % step == 0;
  }
  Cover cover(const TileRange&) const { return step == 1 ? Cover::full : Cover::partial; }
};

/// The first `length` keys.   Source: T5 (Raffel et al. 2020), 3.2.1, as prefix language model: Causal{} |
/// Prefix{n}.
struct Prefix : Mask {
  static constexpr bool kQuickCover = true;
  int32_t length;

  explicit Prefix(int32_t length) : length(length) {}

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    return at.k < length;
  }
  Cover cover(const TileRange& t) const {
    if (t.k0 >= length) return Cover::skip;
    return t.k1 <= length ? Cover::full : Cover::partial;
  }
};

/// The first `tokens` positions see all and are seen by all.   Source: Longformer (Beltagy et al. 2020), 3.1.
struct Global : Mask {
  static constexpr bool kQuickCover = true;
  int32_t tokens;

  explicit Global(int32_t tokens) : tokens(tokens) {}

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    return (at.q < tokens) | (at.k < tokens);
  }
  Cover cover(const TileRange& t) const {
    if (t.q1 <= tokens || t.k1 <= tokens) return Cover::full;
    return t.q0 < tokens || t.k0 < tokens ? Cover::partial : Cover::skip;
  }
};

/// Keys before the length of their batch entry: k < lengths[batch].
struct KeyLengths : Mask {
  static constexpr bool kQuickCover = true;
  Table<int32_t> lengths;

  explicit KeyLengths(Table<int32_t> lengths) : lengths(std::move(lengths)) {}

  void require(const Extent& n) const {
    require_entries(lengths, n.batch, "KeyLengths", "there must be a length for each batch entry");
  }

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    return at.k < load(lengths, at.batch);
  }
  Cover cover(const TileRange& t) const {
    const int64_t length = load(lengths, t.batch);
    if (t.k0 >= length) return Cover::skip;
    return t.k1 <= length ? Cover::full : Cover::partial;
  }
};

/// Keys of the query's own segment, such as a document: query_ids[batch, q] = key_ids[batch, k], int32,
/// row-major (B, N) and (B, M).
struct Segments : Mask {
  Table<int32_t> query_ids, key_ids;
  int32_t queries, keys;

  Segments(Table<int32_t> query_ids, Table<int32_t> key_ids, int32_t queries, int32_t keys)
      : query_ids(std::move(query_ids)), key_ids(std::move(key_ids)), queries(queries), keys(keys) {}

  /// A call may have fewer queries and keys than the segments' rows.
  void require(const Extent& n) const {
    if (n.queries > queries || n.keys > keys) {
      throw usage_error("Segments", "there must be an id for each query and key",
                        std::to_string(queries) + " and " + std::to_string(keys) + " for " +
                            std::to_string(n.queries) + " and " + std::to_string(n.keys),
                        "Give the segments of this call.");
    }
    require_entries(query_ids, n.batch * queries, "Segments", "query_ids must have B rows");
    require_entries(key_ids, n.batch * keys, "Segments", "key_ids must have B rows");
  }

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    return load(query_ids, at.batch * queries + at.q) == load(key_ids, at.batch * keys + at.k);
  }
  Cover cover(const TileRange& t) const {
    const auto q = range(query_ids, int64_t{t.batch} * queries, t.q0, t.q1);
    const auto k = range(key_ids, int64_t{t.batch} * keys, t.k0, t.k1);
    if (q.second < k.first || k.second < q.first) return Cover::skip;
    return q.first == q.second && q == k ? Cover::full : Cover::partial;
  }

 private:
  static std::pair<int32_t, int32_t> range(const Table<int32_t>& ids, int64_t row, int64_t begin,
                                           int64_t end) {
    const auto [low, high] = std::minmax_element(ids.data + row + begin, ids.data + row + end);
    return {*low, *high};
  }
};

template <MaskFunctor A, MaskFunctor B>
struct And : Mask {
  static constexpr bool kQuickCover = kHasQuickCover<A> && kHasQuickCover<B>;
  A a;
  B b;

  And(A a, B b) : a(a), b(b) {}
  void require(const Extent& n) const { require_of(a, n), require_of(b, n); }

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    return a(at) & b(at);
  }
  Cover cover(const TileRange& t) const { return std::min(a.cover(t), b.cover(t)); }
};

template <MaskFunctor A, MaskFunctor B>
struct Or : Mask {
  static constexpr bool kQuickCover = kHasQuickCover<A> && kHasQuickCover<B>;
  A a;
  B b;

  Or(A a, B b) : a(a), b(b) {}
  void require(const Extent& n) const { require_of(a, n), require_of(b, n); }

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    return a(at) | b(at);
  }
  Cover cover(const TileRange& t) const { return std::max(a.cover(t), b.cover(t)); }
};

template <MaskFunctor A>
struct Not : Mask {
  static constexpr bool kQuickCover = kHasQuickCover<A>;
  A a;

  explicit Not(A a) : a(a) {}
  void require(const Extent& n) const { require_of(a, n); }

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    return a(at) == false;
  }
  Cover cover(const TileRange& t) const {
    const Cover inner = a.cover(t);
    if (inner == Cover::partial) return Cover::partial;
    return inner == Cover::full ? Cover::skip : Cover::full;
  }
};

template <MaskFunctor A, MaskFunctor B>
And<A, B> operator&(A a, B b) {
  return {a, b};
}
template <MaskFunctor A, MaskFunctor B>
Or<A, B> operator|(A a, B b) {
  return {a, b};
}
template <MaskFunctor A>
Not<A> operator!(A a) {
  return Not<A>(a);
}

}  // namespace fovea
