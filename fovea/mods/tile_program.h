#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "fovea/core/isa.h"
#include "fovea/core/isa_target.h"
#include "fovea/mods/dual.h"
#include "fovea/mods/functors.h"
#include "fovea/mods/mask.h"
#include "fovea/mods/score.h"
#include "fovea/mods/simd.h"

// What the kernel calls, once a tile of tens of thousands of scores: a user's score and mask functors,
// compiled in the user's own file for every instruction set and chosen at run time. The kernel itself is
// compiled once.

namespace fovea {

/// Scaled scores of some queries and keys, row-major: rows q0 ... or k0 ..., columns the other. `columns` is
/// a multiple of 16.
struct ScoreTile {
  float* scores;
  /// Transposed tiles only: is multiplied with d(score functor) / d(scaled score); laid out as the scores.
  float* slopes;
  int64_t stride;
  int32_t q0, k0, rows, columns, batch, head;
};

/// Functors on the tiles of one orientation. A null pointer means: changes nothing.
struct TileFace {
  void (*score)(const void*, const ScoreTile&) = nullptr;
  void (*mask)(const void*, const ScoreTile&) = nullptr;
};

/// Room for what the score of a call learns, as its program lays it out: so many bytes apart for each chunk
/// of the batch and each head. A chunk and head belong to one thread.
struct LearnSums {
  std::byte* data = nullptr;
  int64_t chunk = 0, head = 0;
};

/// A type-erased view of functors, which must outlive it. A null cover means: all pairs may attend.
struct TileProgram {
  const void* functors = nullptr;
  /// Rows are queries (the forward), and rows are keys (the backward).
  TileFace plain = {}, transposed = {};
  Cover (*cover)(const void*, const TileRange&) = nullptr;
  /// `cover` takes O(1), whatever the range.
  bool quick_cover = false;
  /// The score adds what does not depend on it: its slope is 1, and `slopes` stay as they are.
  bool only_adds = false;
  /// Where `sums` have room, adds to those of a chunk and head what a transposed tile teaches, or stores it
  /// where no two pairs share a number: `slopes` hold the loss's derivative by the score functor's results
  /// and, if `learns_from_scores`, `scores` what it was given. Programs that follow one that learns only add.
  void (*learn)(const void*, const ScoreTile&, void* sums) = nullptr;
  bool learns_from_scores = false;
  LearnSums sums = {};
};

namespace tile {

// body(at, place) for each vector of N scores. Rows are queries and lanes keys; transposed the other way
// round.
template <int N, bool kTransposed, class Body>
void each_vector(const ScoreTile& t, const Body& body) {
  simd::Ints<N> lane;
  for (int i = 0; i < N; ++i) lane.x[i] = i;
  for (int32_t r = 0; r < t.rows; ++r) {
    for (int32_t c = 0; c < t.columns; c += N) {
      const int64_t place = r * t.stride + c;
      if constexpr (kTransposed) {
        body(At<simd::Ints<N>, int32_t>{lane + (t.q0 + c), t.k0 + r, t.batch, t.head}, place);
      } else {
        body(At<int32_t, simd::Ints<N>>{t.q0 + r, lane + (t.k0 + c), t.batch, t.head}, place);
      }
    }
  }
}

template <int N, bool kTransposed, class F>
void score_tile(const F& functors, const ScoreTile& t) {
  using V = simd::Floats<N>;
  each_vector<N, kTransposed>(t, [&](const auto& at, int64_t place) {
    const V given = load(t.scores + place, V{});
    if constexpr (kTransposed && !AddingScore<decltype(functors.score)>) {
      const Dual<V> score = functors.score(Dual<V>{given, broadcast(1.0f, V{})}, at);
      store(t.scores + place, score.value);
      store(t.slopes + place, load(t.slopes + place, V{}) * score.slope);
    } else {
      store(t.scores + place, functors.score(given, at));
    }
  });
}

template <int N, bool kTransposed, class F>
void mask_tile(const F& functors, const ScoreTile& t) {
  using V = simd::Floats<N>;
  const V hidden = broadcast(-std::numeric_limits<float>::infinity(), V{});
  each_vector<N, kTransposed>(t, [&](const auto& at, int64_t place) {
    const auto keep = broadcast(functors.mask(at), simd::Bools<N>{});
    store(t.scores + place, select(keep, load(t.scores + place, V{}), hidden));
  });
}

// Of a transposed tile; sums.data is a row for each entry of the table.
template <int N, class F>
void learn_tile(const F& functors, const ScoreTile& t, const TableSums& sums) {
  using V = simd::Floats<N>;
  each_vector<N, true>(t, [&](const auto& at, int64_t place) {
    functors.score.learn(load(t.slopes + place, V{}), load(t.scores + place, V{}), at, sums);
  });
}

// An entry for each instruction set: its target reaches all that is inlined into it, hence the macro.
#define FOVEA_TILE_ENTRY(lanes, attributes)                                                               \
  template <class F, bool kTransposed>                                                                    \
  attributes __attribute__((flatten)) static void score_##lanes(const void* f, const ScoreTile& t) {      \
    score_tile<lanes, kTransposed>(*static_cast<const F*>(f), t);                                         \
  }                                                                                                       \
  template <class F, bool kTransposed>                                                                    \
  attributes __attribute__((flatten)) static void mask_##lanes(const void* f, const ScoreTile& t) {       \
    mask_tile<lanes, kTransposed>(*static_cast<const F*>(f), t);                                          \
  }                                                                                                       \
  template <class F>                                                                                      \
  attributes                                                                                              \
      __attribute__((flatten)) static void learn_##lanes(const void* f, const ScoreTile& t, void* sums) { \
    const F& functors = *static_cast<const F*>(f);                                                        \
    learn_tile<lanes>(functors, t, {static_cast<float*>(sums), functors.score.learned().size});           \
  }
FOVEA_TILE_ENTRY(4, FOVEA_TARGET_BASELINE)
FOVEA_TILE_ENTRY(8, FOVEA_TARGET_AVX2)
FOVEA_TILE_ENTRY(16, FOVEA_TARGET_AVX512)
#undef FOVEA_TILE_ENTRY

template <class F>
Cover cover(const void* f, const TileRange& range) {
  return static_cast<const F*>(f)->mask.cover(range);
}

template <class Score, class M, bool kTransposed>
TileFace face() {
  using F = Functors<Score, M>;
  TileFace face;
  if constexpr (!std::is_same_v<Score, Identity>) {
    face.score = for_active_isa(score_4<F, kTransposed>, score_8<F, kTransposed>, score_16<F, kTransposed>);
  }
  if constexpr (!std::is_same_v<M, All>) {
    face.mask = for_active_isa(mask_4<F, kTransposed>, mask_8<F, kTransposed>, mask_16<F, kTransposed>);
  }
  return face;
}

}  // namespace tile

/// The program of `functors` for the active instruction set. O(1).
template <class Score, class M>
TileProgram tile_program(const Functors<Score, M>& functors) {
  TileProgram program;
  program.functors = &functors;
  program.plain = tile::face<Score, M, false>();
  program.transposed = tile::face<Score, M, true>();
  if constexpr (!std::is_same_v<M, All>) program.cover = tile::cover<Functors<Score, M>>;
  program.quick_cover = kHasQuickCover<M>;
  if constexpr (LearningScore<Score>) {
    using F = Functors<Score, M>;
    program.learn = for_active_isa(tile::learn_4<F>, tile::learn_8<F>, tile::learn_16<F>);
    program.learns_from_scores = !AddingScore<Score>;
  }
  program.only_adds = AddingScore<Score>;
  return program;
}

}  // namespace fovea
