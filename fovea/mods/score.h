#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>

#include "fovea/mods/at.h"
#include "fovea/mods/dual.h"
#include "fovea/mods/table.h"

// Scores: functors that turn a scaled score s of query at.q and key at.k into another.
//   template <class V, class Q, class K> V operator()(V s, const At<Q, K>& at) const;
// V is a number, a vector of numbers, or a tensor. Chain{a, b} applies a, then b.
//
// A score that learns also names its table, and says where the gradient by its result goes:
//   const Table<float>& learned() const;
//   template <class V, class Q, class K>
//   void learn(V gradient, V s, const At<Q, K>& at, const TableSums& sums) const;   // add(sums, index, ...)
//
// A score that adds what does not depend on s may say so, which saves the backward its slopes; learn() must
// not read s then:
//   static constexpr bool kOnlyAdds = true;

namespace fovea {

template <class Score>
concept LearningScore = requires(const Score& score) {
  score.learned();
};

template <class Score>
concept AddingScore = requires {
  requires std::remove_cvref_t<Score>::kOnlyAdds;
};

/// cap tanh(s / cap), cap in 1e-30 ... 1e30.   Source: Gemma 2 (Gemma Team 2024), section 2.
struct SoftCap {
  float cap;

  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>&) const {
    using std::tanh;
    return tanh(s * (1.0f / cap)) * cap;
  }
};

/// s - slope_h |q - k|.   Slopes of (H), or of (B, H) with `entry` = H. Source: ALiBi (Press et al. 2022),
/// section 3.
struct Alibi {
  static constexpr bool kOnlyAdds = true;
  Table<float> slopes;
  int32_t entry = 0;

  void require(const Extent& n) const {
    require_entries(slopes, n.batch * n.heads == 0 ? 0 : (n.batch - 1) * entry + n.heads, "Alibi",
                    "there must be a slope for each head");
  }

  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>& at) const {
    using std::abs;
    return s - to_float(abs(at.q - at.k)) * load(slopes, at.batch * entry + at.head);
  }

  const Table<float>& learned() const { return slopes; }
  template <class V, class Q, class K>
  void learn(V gradient, V, const At<Q, K>& at, const TableSums& sums) const {
    using std::abs;
    add(sums, at.batch * entry + at.head, -(gradient * to_float(abs(at.q - at.k))));
  }
};

/// factor_h s.   (H)
struct HeadFactor {
  Table<float> factors;

  void require(const Extent& n) const {
    require_entries(factors, n.heads, "HeadFactor", "there must be a factor for each head");
  }

  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>& at) const {
    return s * load(factors, at.head);
  }

  const Table<float>& learned() const { return factors; }
  template <class V, class Q, class K>
  void learn(V gradient, V s, const At<Q, K>& at, const TableSums& sums) const {
    // A hidden key, whose gradient is 0, may have a score that is not finite.
    add(sums, at.head, select(gradient == 0.0f, gradient, gradient * s));
  }
};

/// s + table[head * entry + centre + place_q - place_k]: a number for each difference of places, such as rows
/// and columns of a grid of height h and width w with place = y (2 w - 1) + x and centre = (h - 1)(2 w - 1) +
/// w - 1. Tables of (H, entry), or of one row for all heads with `entry` = 0.   Source: Swin Transformer (Liu
/// et al. 2021), section 3.2.
struct ByPlace {
  static constexpr bool kOnlyAdds = true;
  Table<float> table;
  Table<int32_t> places;
  int32_t entry, centre;

  void require(const Extent& n) const {
    const int64_t count = std::max(n.queries, n.keys);
    require_entries(places, count, "ByPlace", "there must be a place for each position");
    if (count == 0) return;
    const auto [low, high] = std::minmax_element(places.data, places.data + count);
    const int64_t reach = int64_t{*high} - *low;
    if (reach > centre) {
      throw usage_error("ByPlace", "the centre must be the largest difference of places, or more",
                        std::to_string(centre) + " for " + std::to_string(reach), "Count places from 0.");
    }
    require_entries(table, std::max<int64_t>(n.heads - 1, 0) * entry + centre + reach + 1, "ByPlace",
                    "there must be a number for each difference of places");
  }

  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>& at) const {
    return s + load(table, index(at));
  }

  const Table<float>& learned() const { return table; }
  template <class V, class Q, class K>
  void learn(V gradient, V, const At<Q, K>& at, const TableSums& sums) const {
    add(sums, index(at), gradient);
  }

 private:
  template <class Q, class K>
  auto index(const At<Q, K>& at) const {
    return load(places, at.q) - load(places, at.k) + (at.head * entry + centre);
  }
};

/// One after the other; at most one of them learns.
template <class... Scores>
struct Chain {
  static_assert((int{LearningScore<Scores>} + ... + 0) <= 1, "at most one score of a Chain may learn");
  std::tuple<Scores...> scores;

  explicit Chain(Scores... scores) : scores(scores...) {}

  void require(const Extent& n) const {
    std::apply([&](const auto&... score) { (require_of(score, n), ...); }, scores);
  }

  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>& at) const {
    std::apply([&](const auto&... score) { ((s = score(s, at)), ...); }, scores);
    return s;
  }

  const Table<float>& learned() const requires(LearningScore<Scores> || ...) {
    const Table<float>* table = nullptr;
    const auto find = [&](const auto& score) {
      if constexpr (LearningScore<std::decay_t<decltype(score)>>) table = &score.learned();
    };
    std::apply([&](const auto&... score) { (find(score), ...); }, scores);
    return *table;
  }
  template <class V, class Q, class K>
  void learn(V gradient, V s, const At<Q, K>& at, const TableSums& sums) const {
    back<0>(gradient, Dual<V>{s, s - s + 1.0f}, at, sums);
  }

 private:
  // The gradient by what score I is given.
  template <size_t I, class V, class Q, class K>
  V back(V gradient, Dual<V> s, const At<Q, K>& at, const TableSums& sums) const {
    if constexpr (I == sizeof...(Scores)) {
      return gradient;
    } else {
      const auto& score = std::get<I>(scores);
      const Dual<V> result = score(s, at);
      const V by_result = back<I + 1>(gradient, Dual<V>{result.value, s.slope}, at, sums);
      if constexpr (LearningScore<std::decay_t<decltype(score)>>) score.learn(by_result, s.value, at, sums);
      // A hidden key, whose gradient is 0, may have a slope that is not finite.
      return select(by_result == 0.0f, by_result, by_result * result.slope);
    }
  }
};

}  // namespace fovea
