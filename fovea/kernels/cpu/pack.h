#pragma once
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "fovea/kernels/attend_args.h"

// Operands as tile products want them. Sizes are rounded up, so that these see few shapes and whole vectors.

namespace fovea::kernels {

inline int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

/// Rows of the products' B operand that stand beside each other.
template <class C>
constexpr int64_t kPair = std::is_same_v<C, c10::BFloat16> ? 2 : 1;

inline bool is_finite(float x) { return (std::bit_cast<uint32_t>(x) & 0x7f800000u) != 0x7f800000u; }
inline bool is_finite(c10::BFloat16 x) { return (x.x & 0x7f80u) != 0x7f80u; }
inline bool is_finite(c10::Half x) { return (x.x & 0x7c00u) != 0x7c00u; }

/// Nearest number of type T, ties to even; written so that the compiler makes vectors of it.
template <class T>
T rounded(float x) {
  return T(x);
}
template <>
inline c10::BFloat16 rounded<c10::BFloat16>(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  const uint32_t nearest = bits + 0x7fffu + ((bits >> 16) & 1u);
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return {static_cast<uint16_t>((nan ? 0x7fc00000u : nearest) >> 16), c10::BFloat16::from_bits()};
}

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
T* row_of(const Output& t, int64_t batch, int64_t head, int64_t row) {
  return static_cast<T*>(t.data) + batch * t.batch + head * t.head + row * t.row;
}

/// to[d] = factor(d) row[d], rounded, for rows `stride` apart.
template <class T, class Factor>
void store_rows(const Rows<float>& rows, T* to, int64_t stride, const Factor& factor) {
  for (int64_t r = 0; r < rows.count; ++r) {
    const float* row = rows.data + r * rows.stride;
    for (int64_t d = 0; d < rows.dim; ++d) to[r * stride + d] = rounded<T>(factor(d) * row[d]);
  }
}

/// A operand: (round_up(count, 16), round_up(dim, pair)), padded with 0.
template <class T, class C>
void pack_padded(const Rows<T>& rows, C* out) {
  const int64_t dim = round_up(rows.dim, kPair<C>);
  for (int64_t r = 0; r < round_up(rows.count, 16); ++r) {
    const int64_t filled = r < rows.count ? rows.dim : 0;
    for (int64_t d = 0; d < filled; ++d) out[r * dim + d] = C(rows.data[r * rows.stride + d]);
    std::fill(out + r * dim + filled, out + (r + 1) * dim, C(0));
  }
}

/// Transposed to (ceil(dim / pair), width, pair); columns past count and dims past dim are 0. `width` is a
/// multiple of 16.
template <class T, class C>
void pack_transposed(const Rows<T>& rows, int64_t width, C* out) {
  constexpr int64_t pair = kPair<C>;
  const int64_t whole_dims = rows.dim / pair * pair;
  for (int64_t j0 = 0; j0 < width; j0 += 16) {
    const T* from = rows.data + j0 * rows.stride;
    if (j0 + 16 <= rows.count) {
      for (int64_t d = 0; d < whole_dims; d += pair) {
        C* to = out + (d / pair * width + j0) * pair;
        for (int64_t j = 0; j < 16; ++j) {
          for (int64_t p = 0; p < pair; ++p) to[j * pair + p] = C(from[j * rows.stride + d + p]);
        }
      }
      if (whole_dims == rows.dim) continue;
    }
    for (int64_t d = j0 + 16 <= rows.count ? whole_dims : 0; d < rows.dim; d += pair) {
      C* to = out + (d / pair * width + j0) * pair;
      for (int64_t j = 0; j < 16; ++j) {
        for (int64_t p = 0; p < pair; ++p) {
          const bool inside = j0 + j < rows.count && d + p < rows.dim;
          to[j * pair + p] = inside ? C(from[j * rows.stride + d + p]) : C(0);
        }
      }
    }
  }
}

/// To (width / pair, dim, pair); rows past count are 0. Numbers that are not finite become 0, and their rows
/// are appended to `poisoned`: times a weight of 0 they would still be NaN.
template <class T, class C>
void pack_rows(const Rows<T>& rows, int64_t width, C* out, std::vector<int64_t>& poisoned) {
  constexpr int64_t pair = kPair<C>;
  for (int64_t j = 0; j < width; ++j) {
    C* to = out + j / pair * pair * rows.dim + j % pair;
    if (j >= rows.count) {
      for (int64_t d = 0; d < rows.dim; ++d) to[d * pair] = C(0);
      continue;
    }
    const T* from = rows.data + j * rows.stride;
    bool finite = true;
    for (int64_t d = 0; d < rows.dim; ++d) {
      finite &= is_finite(from[d]);
      to[d * pair] = C(from[d]);
    }
    if (finite) continue;
    poisoned.push_back(j);
    for (int64_t d = 0; d < rows.dim; ++d) {
      if (!is_finite(from[d])) to[d * pair] = C(0);
    }
  }
}

}  // namespace fovea::kernels
