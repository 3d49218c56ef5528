#pragma once
#include <immintrin.h>

#include <cstdint>

#include "fovea/core/isa_target.h"
#include "fovea/mods/simd.h"

// Random bits in vectors: core/random.h's philox() for the counters of each lane.

namespace fovea::simd::words {

/// Vectors of N words of 32 bits, and of half as many of 64.
template <int N>
struct Native;

}  // namespace fovea::simd::words

// FOVEA_MULTIPLY_EVEN: the products, of 64 bits, of the even words of x with a factor.
#define FOVEA_LANES 4
#define FOVEA_TARGET FOVEA_TARGET_BASELINE
#define FOVEA_MULTIPLY_EVEN(x, factor) _mm_mul_epu32((__m128i)(x), _mm_set1_epi64x(factor))
#include "fovea/mods/philox_lanes.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_MULTIPLY_EVEN

#define FOVEA_LANES 8
#define FOVEA_TARGET FOVEA_TARGET_AVX2
#define FOVEA_MULTIPLY_EVEN(x, factor) _mm256_mul_epu32((__m256i)(x), _mm256_set1_epi64x(factor))
#include "fovea/mods/philox_lanes.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_MULTIPLY_EVEN

#define FOVEA_LANES 16
#define FOVEA_TARGET FOVEA_TARGET_AVX512
#define FOVEA_MULTIPLY_EVEN(x, factor) _mm512_maskz_mul_epu32(0xff, (__m512i)(x), _mm512_set1_epi64(factor))
#include "fovea/mods/philox_lanes.inl"
#undef FOVEA_LANES
#undef FOVEA_TARGET
#undef FOVEA_MULTIPLY_EVEN
