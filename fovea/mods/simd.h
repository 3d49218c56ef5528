#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>

// Vectors of N floats, N ints or N booleans for functors that run inside a kernel.
//
// They hold plain arrays, so that passing one does not depend on the instruction set of the caller; the
// operators carry their target as an attribute, so that no file needs an -m flag. A kernel's entry for an
// instruction set has the same target and the attribute flatten, into which functors and operators inline. N
// = 4 is the x86-64 baseline, 8 is AVX2, 16 is AVX-512.

#include "fovea/core/isa_target.h"

namespace fovea::simd {

template <int N>
struct Floats {
  static constexpr int kLanes = N;
  float x[N];
};

template <int N>
struct Ints {
  static constexpr int kLanes = N;
  int32_t x[N];
};

/// 0 or -1 in each lane.
template <int N>
struct Bools {
  static constexpr int kLanes = N;
  int32_t x[N];
};

inline float to_float(int32_t x) { return static_cast<float>(x); }

}  // namespace fovea::simd

#define FOVEA_LANES 4
#define FOVEA_TARGET FOVEA_TARGET_BASELINE
#include "fovea/mods/simd_ops.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET

#define FOVEA_LANES 8
#define FOVEA_TARGET FOVEA_TARGET_AVX2
#include "fovea/mods/simd_ops.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET

#define FOVEA_LANES 16
#define FOVEA_TARGET FOVEA_TARGET_AVX512
#include "fovea/mods/simd_ops.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
