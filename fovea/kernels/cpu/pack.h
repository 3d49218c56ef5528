#pragma once
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "fovea/core/ceil_div.h"
#include "fovea/kernels/attend_args.h"

// Operands as tile products want them. Sizes are rounded up, so that these see few shapes and whole vectors.

namespace fovea::kernels {

/// Rows of the products' B operand that stand beside each other.
template <class C>
constexpr int64_t kPair = std::is_same_v<C, c10::BFloat16> ? 2 : 1;

/// Keys of a block are padded to a multiple of this: whole vectors, and of bfloat16 whole sums of an AMX
/// tile.
template <class C>
constexpr int64_t kKeyStep = kPair<C> == 2 ? 32 : 16;

/// Padding keeps the products' shapes few; in a short sequence it would be a quarter of the work.
inline bool is_short(int64_t length) { return length <= 128; }

/// Rows of a product for `count` queries or keys of a sequence of `length`. A tile of bfloat16 has 16 anyway.
template <class C>
int64_t product_rows(int64_t count, int64_t length) {
  return round_up(count, kPair<C> == 1 && is_short(length) ? 4 : 16);
}

/// Terms of a product's sums over so many.
template <class C>
int64_t product_terms(int64_t count, int64_t length) {
  return round_up(count, kPair<C> == 1 && is_short(length) ? 4 : kKeyStep<C>);
}

inline bool is_finite(float x) { return (std::bit_cast<uint32_t>(x) & 0x7f800000u) != 0x7f800000u; }
inline bool is_finite(c10::BFloat16 x) { return (x.x & 0x7f80u) != 0x7f80u; }
inline bool is_finite(c10::Half x) { return (x.x & 0x7c00u) != 0x7c00u; }

/// `count` rows of a (row, dim) operand.
template <class T>
struct Rows {
  const T* data;
  int64_t stride, count, dim;
};

template <class T>
Rows<T> rows_of(const Operand& t, int64_t batch, int64_t head, int64_t first, int64_t count, int64_t dim) {
  return {static_cast<const T*>(t.data) + batch * t.batch + head * t.head + first * t.row, t.row, count, dim};
}

/// The row `row` of a head.
template <class T>
const T* row_of(const Operand& t, int64_t batch, int64_t head, int64_t row) {
  return static_cast<const T*>(t.data) + batch * t.batch + head * t.head + row * t.row;
}
template <class T>
T* row_of(const Output& t, int64_t batch, int64_t head, int64_t row) {
  return static_cast<T*>(t.data) + batch * t.batch + head * t.head + row * t.row;
}

/// What results are multiplied with: `all`, and, if not null, by_dim (dim) and by_row (rows).
struct Factors {
  float all = 1.0f;
  const float* by_dim = nullptr;
  const float* by_row = nullptr;
};

// Below, T is the operands' type and C that of the products: float and float, c10::BFloat16 and itself or
// float, c10::Half and float. All run on the active instruction set.

/// Whether all numbers are.
template <class T>
bool are_finite(const Rows<T>& rows);

/// A operand: (round_up(count, 16), round_up(dim, pair)), padded with 0.
template <class T, class C>
void pack_padded(const Rows<T>& rows, C* out);

/// Transposed to (ceil(dim / pair), width, pair); columns past count and dims past dim are 0. `width` is a
/// multiple of 16.
template <class T, class C>
void pack_transposed(const Rows<T>& rows, int64_t width, C* out);

/// To (width / pair, dim, pair); rows past count are 0. Numbers that are not finite become 0, and their rows
/// are appended to `poisoned`: times a weight of 0 they would still be NaN.
template <class T, class C>
void pack_rows(const Rows<T>& rows, int64_t width, C* out, std::vector<int64_t>& poisoned);

/// What pack_padded() made, (height, round_up(dim, pair)), to (dim, height), with 0 for what is not finite.
template <class C>
void turn_packed(const C* rows, int64_t height, int64_t dim, C* out);

/// Rows (count, dim) times their factors, rounded; those of `to` are `stride` apart.
template <class T>
void store_rows(const Rows<float>& rows, T* to, int64_t stride, const Factors& factors);

/// The same of sums that lie the other way round, (dim, stride); `count` columns are stored, but columns up
/// to the next multiple of 16 are read. Without by_row.
template <class T>
void store_columns(const Rows<float>& columns, T* to, int64_t stride, const Factors& factors);

/// sums[r] = sum_d rows[r, d] others[r, d], others (count, dim).
template <class T>
void dot_rows(const Rows<T>& rows, const float* others, float* sums);

}  // namespace fovea::kernels
