#pragma once
#include <immintrin.h>

#include <cstdint>
#include <memory>
#include <string>

#include "fovea/core/error.h"
#include "fovea/core/isa_target.h"
#include "fovea/mods/simd.h"

namespace fovea {

/// A read-only array that a functor indexes with load(table, i): i a number or a vector in kernels, a tensor
/// in the composed path, where `owner` is the tensor that holds the data, so that gradients reach it.
template <class T>
struct Table {
  const T* data = nullptr;
  int64_t size = 0;
  std::shared_ptr<const void> owner;
};

/// Throws Error (usage) in the name of `functor` unless the table has so many entries, which `rule` names.
template <class T>
void require_entries(const Table<T>& table, int64_t entries, const char* functor, const char* rule) {
  if (table.size >= entries) return;
  throw usage_error(functor, rule, std::to_string(table.size) + " of " + std::to_string(entries),
                    "Give the table every entry that the call reads.");
}

template <class T>
T load(const Table<T>& table, int64_t index) {
  return table.data[index];
}

// Lanes beyond the last query or key may ask for any index: outside the table they read entry 0, and their
// scores are thrown away. An empty table must not be loaded from.
#define FOVEA_GATHER(lanes, attributes, Vector, T)                                                     \
  attributes static inline __attribute__((unused)) simd::Vector<lanes> load(const Table<T>& table,     \
                                                                            simd::Ints<lanes> index) { \
    simd::Vector<lanes> r;                                                                             \
    for (int i = 0; i < lanes; ++i) {                                                                  \
      const bool inside = static_cast<uint32_t>(index.x[i]) < static_cast<uint64_t>(table.size);       \
      r.x[i] = table.data[inside ? index.x[i] : 0];                                                    \
    }                                                                                                  \
    return r;                                                                                          \
  }
#define FOVEA_GATHERS(lanes, attributes)         \
  FOVEA_GATHER(lanes, attributes, Floats, float) \
  FOVEA_GATHER(lanes, attributes, Ints, int32_t)
FOVEA_GATHERS(4, FOVEA_TARGET_BASELINE)
FOVEA_GATHERS(8, FOVEA_TARGET_AVX2)
#undef FOVEA_GATHERS
#undef FOVEA_GATHER

// The same by one instruction: a vector that was stored lane by lane would have to be waited for.
#define FOVEA_GATHER_16(Vector, T, gather, store, zeros)                                                   \
  FOVEA_TARGET_AVX512 static inline __attribute__((unused)) simd::Vector<16> load(const Table<T>& table,   \
                                                                                  simd::Ints<16> index) {  \
    const __m512i given = _mm512_loadu_si512(index.x);                                                     \
    const int64_t end = table.size < INT32_MAX ? table.size : INT32_MAX;                                   \
    const __mmask16 inside = _mm512_cmplt_epu32_mask(given, _mm512_set1_epi32(static_cast<int32_t>(end))); \
    simd::Vector<16> r;                                                                                    \
    store(r.x, gather(zeros(), 0xffff, _mm512_maskz_mov_epi32(inside, given), table.data, 4));             \
    return r;                                                                                              \
  }
FOVEA_GATHER_16(Floats, float, _mm512_mask_i32gather_ps, _mm512_storeu_ps, _mm512_setzero_ps)
FOVEA_GATHER_16(Ints, int32_t, _mm512_mask_i32gather_epi32, _mm512_storeu_si512, _mm512_setzero_si512)
#undef FOVEA_GATHER_16

/// Sums of what a score learns for the entries of its table, a column for each lane of a vector, so that
/// lanes with the same entry do not meet.
struct TableSums {
  static constexpr int kLanes = 16;
  float* data;  // (size, kLanes)
  int64_t size;
};

// What lanes beyond the last query or key learn is 0, and may name any entry.
#define FOVEA_ADD(lanes, attributes)                                                                        \
  attributes static inline __attribute__((unused)) void add(const TableSums& sums, simd::Ints<lanes> index, \
                                                            simd::Floats<lanes> value) {                    \
    for (int i = 0; i < lanes; ++i) {                                                                       \
      const bool inside = static_cast<uint32_t>(index.x[i]) < static_cast<uint64_t>(sums.size);             \
      sums.data[(inside ? index.x[i] : 0) * TableSums::kLanes + i] += inside ? value.x[i] : 0.0f;           \
    }                                                                                                       \
  }                                                                                                         \
  attributes static inline __attribute__((unused)) void add(const TableSums& sums, int32_t index,           \
                                                            simd::Floats<lanes> value) {                    \
    float* column = sums.data + int64_t{index} * TableSums::kLanes;                                         \
    for (int i = 0; i < lanes; ++i) column[i] += value.x[i];                                                \
  }
FOVEA_ADD(4, FOVEA_TARGET_BASELINE)
FOVEA_ADD(8, FOVEA_TARGET_AVX2)
FOVEA_ADD(16, FOVEA_TARGET_AVX512)
#undef FOVEA_ADD

}  // namespace fovea
