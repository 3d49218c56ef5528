#pragma once
#include <cstdint>
#include <limits>

#include "fovea/core/isa.h"
#include "fovea/mods/dual.h"
#include "fovea/mods/functors.h"
#include "fovea/mods/mask.h"
#include "fovea/mods/simd.h"

// What the kernel calls, once a tile of tens of thousands of scores: a user's score and mask functors,
// compiled in the user's own file for every instruction set and chosen at run time. The kernel itself is
// compiled once.

namespace fovea {

/// Scaled scores of queries q0 ... and keys k0 ..., row-major. `columns` is a multiple of 16.
struct ScoreTile {
  float* scores;
  int64_t stride;
  int32_t q0, k0, rows, columns, batch, head;
};

/// The same of the backward: keys k0 ... are rows, queries q0 ... columns.
struct TransposedTile {
  float* scores;
  /// Receives d(score functor) / d(scaled score), laid out as the scores.
  float* slopes;
  int64_t stride;
  int32_t q0, k0, rows, columns, batch, head;
};

/// A type-erased view of functors, which must outlive it. An empty pointer means: changes nothing.
struct TileProgram {
  const void* functors = nullptr;
  void (*score)(const void*, const ScoreTile&) = nullptr;
  void (*mask)(const void*, const ScoreTile&) = nullptr;
  Cover (*cover)(const void*, const TileRange&) = nullptr;
  void (*transposed_score)(const void*, const TransposedTile&) = nullptr;
  void (*transposed_mask)(const void*, const TransposedTile&) = nullptr;
};

namespace tile {

// Rows are queries, lanes are keys. Each of the three has its own target, hence the macro.
#define FOVEA_TILE_ENTRY(lanes, attributes)                                                                  \
  template <class F>                                                                                         \
  attributes __attribute__((flatten)) static void score_##lanes(const void* f, const ScoreTile& t) {         \
    const auto& functors = *static_cast<const F*>(f);                                                        \
    simd::Ints<lanes> lane;                                                                                  \
    for (int i = 0; i < lanes; ++i) lane.x[i] = i;                                                           \
    for (int32_t r = 0; r < t.rows; ++r) {                                                                   \
      float* row = t.scores + r * t.stride;                                                                  \
      for (int32_t c = 0; c < t.columns; c += lanes) {                                                       \
        const At<int32_t, simd::Ints<lanes>> at{t.q0 + r, lane + (t.k0 + c), t.batch, t.head};               \
        store(row + c, functors.score(load(row + c, simd::Floats<lanes>{}), at));                            \
      }                                                                                                      \
    }                                                                                                        \
  }                                                                                                          \
  template <class F>                                                                                         \
  attributes __attribute__((flatten)) static void mask_##lanes(const void* f, const ScoreTile& t) {          \
    const auto& functors = *static_cast<const F*>(f);                                                        \
    const auto hidden = broadcast(-std::numeric_limits<float>::infinity(), simd::Floats<lanes>{});           \
    simd::Ints<lanes> lane;                                                                                  \
    for (int i = 0; i < lanes; ++i) lane.x[i] = i;                                                           \
    for (int32_t r = 0; r < t.rows; ++r) {                                                                   \
      float* row = t.scores + r * t.stride;                                                                  \
      for (int32_t c = 0; c < t.columns; c += lanes) {                                                       \
        const At<int32_t, simd::Ints<lanes>> at{t.q0 + r, lane + (t.k0 + c), t.batch, t.head};               \
        const auto keep = broadcast(functors.mask(at), simd::Bools<lanes>{});                                \
        store(row + c, select(keep, load(row + c, simd::Floats<lanes>{}), hidden));                          \
      }                                                                                                      \
    }                                                                                                        \
  }                                                                                                          \
  template <class F>                                                                                         \
  attributes __attribute__((flatten)) static void transposed_score_##lanes(const void* f,                    \
                                                                           const TransposedTile& t) {        \
    const auto& functors = *static_cast<const F*>(f);                                                        \
    using V = simd::Floats<lanes>;                                                                           \
    const V one = broadcast(1.0f, V{});                                                                      \
    simd::Ints<lanes> lane;                                                                                  \
    for (int i = 0; i < lanes; ++i) lane.x[i] = i;                                                           \
    for (int32_t r = 0; r < t.rows; ++r) {                                                                   \
      float* row = t.scores + r * t.stride;                                                                  \
      for (int32_t c = 0; c < t.columns; c += lanes) {                                                       \
        const At<simd::Ints<lanes>, int32_t> at{lane + (t.q0 + c), t.k0 + r, t.batch, t.head};               \
        const Dual<V> s = functors.score(Dual<V>{load(row + c, V{}), one}, at);                              \
        store(row + c, s.value);                                                                             \
        store(t.slopes + r * t.stride + c, s.slope);                                                         \
      }                                                                                                      \
    }                                                                                                        \
  }                                                                                                          \
  template <class F>                                                                                         \
  attributes                                                                                                 \
      __attribute__((flatten)) static void transposed_mask_##lanes(const void* f, const TransposedTile& t) { \
    const auto& functors = *static_cast<const F*>(f);                                                        \
    const auto hidden = broadcast(-std::numeric_limits<float>::infinity(), simd::Floats<lanes>{});           \
    simd::Ints<lanes> lane;                                                                                  \
    for (int i = 0; i < lanes; ++i) lane.x[i] = i;                                                           \
    for (int32_t r = 0; r < t.rows; ++r) {                                                                   \
      float* row = t.scores + r * t.stride;                                                                  \
      for (int32_t c = 0; c < t.columns; c += lanes) {                                                       \
        const At<simd::Ints<lanes>, int32_t> at{lane + (t.q0 + c), t.k0 + r, t.batch, t.head};               \
        const auto keep = broadcast(functors.mask(at), simd::Bools<lanes>{});                                \
        store(row + c, select(keep, load(row + c, simd::Floats<lanes>{}), hidden));                          \
      }                                                                                                      \
    }                                                                                                        \
  }
FOVEA_TILE_ENTRY(4, )
FOVEA_TILE_ENTRY(8, __attribute__((target("avx2,fma"))))
FOVEA_TILE_ENTRY(16, __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))))
#undef FOVEA_TILE_ENTRY

template <class F>
Cover cover(const void* f, const TileRange& range) {
  return static_cast<const F*>(f)->mask.cover(range);
}

}  // namespace tile

/// The program of `functors` for the active instruction set. O(1).
template <class Score, class M>
TileProgram tile_program(const Functors<Score, M>& functors) {
  using F = Functors<Score, M>;
  const Isa isa = active_isa();
  TileProgram program;
  program.functors = &functors;
  if constexpr (!std::is_same_v<Score, Identity>) {
    program.score = isa >= Isa::avx512 ? tile::score_16<F>
                    : isa >= Isa::avx2 ? tile::score_8<F>
                                       : tile::score_4<F>;
    program.transposed_score = isa >= Isa::avx512 ? tile::transposed_score_16<F>
                               : isa >= Isa::avx2 ? tile::transposed_score_8<F>
                                                  : tile::transposed_score_4<F>;
  }
  if constexpr (!std::is_same_v<M, All>) {
    program.mask = isa >= Isa::avx512 ? tile::mask_16<F>
                   : isa >= Isa::avx2 ? tile::mask_8<F>
                                      : tile::mask_4<F>;
    program.transposed_mask = isa >= Isa::avx512 ? tile::transposed_mask_16<F>
                              : isa >= Isa::avx2 ? tile::transposed_mask_8<F>
                                                 : tile::transposed_mask_4<F>;
    program.cover = tile::cover<F>;
  }
  return program;
}

}  // namespace fovea
