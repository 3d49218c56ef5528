#pragma once
#include <cmath>
#include <tuple>

#include "fovea/mods/at.h"
#include "fovea/mods/table.h"

// Scores: functors that turn a scaled score s of query at.q and key at.k into another.
//   template <class V, class Q, class K> V operator()(V s, const At<Q, K>& at) const;
// V is a number, a vector of numbers, or a tensor. Chain{a, b} applies a, then b.

namespace fovea {

/// cap tanh(s / cap).   Source: Gemma 2 (Gemma Team 2024), section 2.
struct SoftCap {
  float cap;

  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>&) const {
    using std::exp;
    return cap - 2.0f * cap / (exp(s * (2.0f / cap)) + 1.0f);
  }
};

/// s - slope_h |q - k|.   Slopes of (H), or of (B, H) with `entry` = H. Source: ALiBi (Press et al. 2022),
/// section 3.
struct Alibi {
  Table<float> slopes;
  int32_t entry = 0;

  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>& at) const {
    using std::abs;
    return s - to_float(abs(at.q - at.k)) * load(slopes, at.batch * entry + at.head);
  }
};

template <class... Scores>
struct Chain {
  std::tuple<Scores...> scores;

  explicit Chain(Scores... scores) : scores(scores...) {}

  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>& at) const {
    std::apply([&](const auto&... score) { ((s = score(s, at)), ...); }, scores);
    return s;
  }
};

}  // namespace fovea
