#pragma once
#include <cstdint>

#include "fovea/mods/simd.h"

namespace fovea {

/// What a functor may ask of a position. Kernels use numbers and vectors; the composed path specialises it
/// for tensors.
template <class Position>
struct PositionTraits {
  using Head = int32_t;
  static auto to_float(const Position& position) { return simd::to_float(position); }
};

/// A position, or a difference of positions, as a score.
template <class Position>
auto to_float(const Position& position) {
  return PositionTraits<Position>::to_float(position);
}

/// Where a score stands: query q and key k of one head. In the forward kernel q is a number and k a vector,
/// in the backward the other way round, in the composed path both are tensors: hence two types.
template <class Q, class K>
struct At {
  using Head = typename PositionTraits<Q>::Head;
  Q q;
  K k;
  Head batch;
  Head head;
};

/// A rectangle of scores: queries [q0, q1), keys [k0, k1).
struct TileRange {
  int64_t q0, q1, k0, k1;
  int32_t batch, head;
};

/// Sizes of a call: what tables of functors must reach.
struct Extent {
  int64_t batch, heads, queries, keys;
};

/// Asks a functor that reads tables, by its `void require(const Extent&) const`, whether they reach so far.
template <class Functor>
void require_of(const Functor& functor, const Extent& n) {
  if constexpr (requires { functor.require(n); }) functor.require(n);
}

/// What a mask says of a rectangle: none of its pairs may attend, some, all.
enum class Cover { skip, partial, full };

}  // namespace fovea
