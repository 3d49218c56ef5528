#include "fovea/kernels/cpu/pack.h"

#include <immintrin.h>

#include <algorithm>
#include <type_traits>

#include "fovea/core/isa.h"
#include "fovea/kernels/cpu/lanes.h"
#include "fovea/mods/simd.h"

// g++ 12 takes the undefined parts of its own AVX-512 intrinsics for a mistake (its bug 105593).
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace fovea::kernels {

#define FOVEA_ROWS "fovea/kernels/cpu/pack.inl"
#include "fovea/kernels/cpu/each_isa.inl"

template <class T>
bool are_finite(const Rows<T>& rows) {
  return for_active_isa(baseline::all_finite<T>, avx2::all_finite<T>, avx512::all_finite<T>)(rows);
}

template <class T, class C>
void pack_padded(const Rows<T>& rows, C* out) {
  for_active_isa(baseline::padded<T, C>, avx2::padded<T, C>, avx512::padded<T, C>)(rows, out);
}

template <class T, class C>
void pack_transposed(const Rows<T>& rows, int64_t width, C* out) {
  for_active_isa(baseline::transposed<T, C>, avx2::transposed<T, C>, avx512::transposed<T, C>)(rows, width,
                                                                                               out);
}

template <class T, class C>
void pack_rows(const Rows<T>& rows, int64_t width, C* out, std::vector<int64_t>& poisoned) {
  for_active_isa(baseline::plain<T, C>, avx2::plain<T, C>, avx512::plain<T, C>)(rows, width, out, poisoned);
}

template <class C>
void turn_packed(const C* rows, int64_t height, int64_t dim, C* out) {
  for_active_isa(baseline::turned<C>, avx2::turned<C>, avx512::turned<C>)(rows, height, dim, out);
}

template <class T>
void store_rows(const Rows<float>& rows, T* to, int64_t stride, const Factors& factors) {
  for_active_isa(baseline::stored<T>, avx2::stored<T>, avx512::stored<T>)(rows, to, stride, factors);
}

template <class T>
void store_columns(const Rows<float>& columns, T* to, int64_t stride, const Factors& factors) {
  for_active_isa(baseline::stored_columns<T>, avx2::stored_columns<T>, avx512::stored_columns<T>)(
      columns, to, stride, factors);
}

template <class T>
void dot_rows(const Rows<T>& rows, const float* others, float* sums) {
  for_active_isa(baseline::dots<T>, avx2::dots<T>, avx512::dots<T>)(rows, others, sums);
}

#define FOVEA_PACK(T, C)                                      \
  template void pack_padded(const Rows<T>&, C*);              \
  template void pack_transposed(const Rows<T>&, int64_t, C*); \
  template void pack_rows(const Rows<T>&, int64_t, C*, std::vector<int64_t>&);
FOVEA_PACK(float, float)
FOVEA_PACK(c10::BFloat16, c10::BFloat16)
FOVEA_PACK(c10::BFloat16, float)
FOVEA_PACK(c10::Half, float)
#undef FOVEA_PACK

#define FOVEA_STORE(T)                                                          \
  template bool are_finite(const Rows<T>&);                                     \
  template void store_rows(const Rows<float>&, T*, int64_t, const Factors&);    \
  template void store_columns(const Rows<float>&, T*, int64_t, const Factors&); \
  template void dot_rows(const Rows<T>&, const float*, float*);
FOVEA_STORE(float)
FOVEA_STORE(c10::BFloat16)
FOVEA_STORE(c10::Half)
#undef FOVEA_STORE

template void turn_packed(const float*, int64_t, int64_t, float*);
template void turn_packed(const c10::BFloat16*, int64_t, int64_t, c10::BFloat16*);

}  // namespace fovea::kernels
