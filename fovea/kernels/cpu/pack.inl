// The packing of one instruction set; see each_isa.inl.
#include "fovea/kernels/cpu/numbers.inl"
#include "fovea/kernels/cpu/turn.inl"

// Two bfloat16 each, which may stand at any even address.
typedef int32_t Pairs __attribute__((vector_size(4 * FOVEA_LANES), aligned(2), may_alias));

// A vector of the products' words from a row: floats, or pairs of bfloat16; n numbers are left of it.
template <class T, class C>
INLINE Words load_words(const T* p, int64_t n) {
  if constexpr (kPair<C> == 1) {
    return (Words)load_first(p, n);
  } else {
    if (n >= 2 * FOVEA_LANES) return *reinterpret_cast<const Pairs*>(p);
    T numbers[2 * FOVEA_LANES] = {};
    for (int64_t i = 0; i < n; ++i) numbers[i] = p[i];
    return *reinterpret_cast<const Pairs*>(numbers);
  }
}

INLINE NI not_finite(NI bits) { return (bits & 0x7f800000) == 0x7f800000; }

template <class T>
KERNEL bool all_finite(const Rows<T>& rows) {
  NI bad = {};
  for (int64_t r = 0; r < rows.count; ++r) {
    const T* row = rows.data + r * rows.stride;
    for (int64_t d = 0; d < rows.dim; d += FOVEA_LANES) bad |= not_finite((NI)load_first(row + d, rows.dim - d));
  }
  return !any(bad);
}

template <class T, class C>
KERNEL void padded(const Rows<T>& rows, C* out) {
  const int64_t dim = round_up(rows.dim, kPair<C>), height = round_up(rows.count, 16);
  for (int64_t r = 0; r < rows.count; ++r, out += dim) {
    const T* from = rows.data + r * rows.stride;
    if constexpr (kPair<C> == 2) {
      for (int64_t d = 0; d < rows.dim; d += 2 * FOVEA_LANES) {
        const Words words = load_words<T, C>(from + d, rows.dim - d);
        store_first(reinterpret_cast<float*>(out + d), (dim - d) / 2, (NF)words);
      }
    } else {
      for (int64_t d = 0; d < rows.dim; d += FOVEA_LANES) {
        store_first(out + d, rows.dim - d, load_first(from + d, rows.dim - d));
      }
    }
  }
  std::fill(out, out + (height - rows.count) * dim, C(0));
}

template <class T, class C>
KERNEL void transposed(const Rows<T>& rows, int64_t width, C* out) {
  constexpr int64_t pair = kPair<C>;
  const int64_t words = (rows.dim + pair - 1) / pair;
  auto* to = reinterpret_cast<int32_t*>(out);
  for (int64_t j = 0; j < width; j += FOVEA_LANES) {
    for (int64_t w = 0; w < words; w += FOVEA_LANES) {
      Words block[FOVEA_LANES];
#pragma GCC unroll 16
      for (int64_t i = 0; i < FOVEA_LANES; ++i) {
        const T* from = rows.data + (j + i) * rows.stride + w * pair;
        // Rows apart are no stream that a processor would see coming.
        __builtin_prefetch(from + FOVEA_LANES * rows.stride);
        block[i] = j + i < rows.count ? load_words<T, C>(from, rows.dim - w * pair) : Words{};
      }
      turn(block);
#pragma GCC unroll 16
      for (int64_t i = 0; i < FOVEA_LANES; ++i) {
        if (w + i < words) *reinterpret_cast<Words*>(to + (w + i) * width + j) = block[i];
      }
    }
  }
}

// One row of floats; `bad` also gets the bits of what is not finite.
template <class T>
INLINE void copy_row(const T* from, int64_t dim, float* to, NI& bad) {
  for (int64_t d = 0; d < dim; d += FOVEA_LANES) {
    const NF numbers = load_first(from + d, dim - d);
    bad |= not_finite((NI)numbers);
    store_first(to + d, dim - d, numbers);
  }
}

// Two rows beside each other; `second` may be null.
INLINE void interleave(const c10::BFloat16* first, const c10::BFloat16* second, int64_t dim, c10::BFloat16* to,
                       NI& bad) {
  for (int64_t d = 0; d < dim; d += FOVEA_LANES) {
    const NI low = (NI)load_first(first + d, dim - d);
    const NI high = second ? (NI)load_first(second + d, dim - d) : NI{};
    bad |= not_finite(low) | not_finite(high);
    store_first(reinterpret_cast<float*>(to) + d, dim - d, (NF)(((low >> 16) & 0xffff) | high));
  }
}

// Numbers that are not finite become 0, and their rows are named.
template <class C>
KERNEL void take_poison(int64_t rows, int64_t dim, C* packed, std::vector<int64_t>& poisoned) {
  constexpr int64_t pair = kPair<C>;
  for (int64_t r = 0; r < rows; ++r) {
    C* row = packed + r / pair * pair * dim + r % pair;
    bool found = false;
    for (int64_t d = 0; d < dim; ++d) {
      if (is_finite(row[d * pair])) continue;
      row[d * pair] = C(0);
      found = true;
    }
    if (found) poisoned.push_back(r);
  }
}

template <class T, class C>
KERNEL void plain(const Rows<T>& rows, int64_t width, C* out, std::vector<int64_t>& poisoned) {
  constexpr int64_t pair = kPair<C>;
  const int64_t pairs = (rows.count + pair - 1) / pair;
  NI bad = {};
  for (int64_t p = 0; p < pairs; ++p) {
    const T* from = rows.data + p * pair * rows.stride;
    C* to = out + p * pair * rows.dim;
    if constexpr (pair == 1) {
      copy_row(from, rows.dim, to, bad);
    } else {
      interleave(from, p * pair + 1 < rows.count ? from + rows.stride : nullptr, rows.dim, to, bad);
    }
  }
  std::fill(out + pairs * pair * rows.dim, out + width * rows.dim, C(0));
  if (any(bad)) take_poison(rows.count, rows.dim, out, poisoned);
}

// A vector of words (pair p of dims, of FOVEA_LANES rows) to rows 2p and 2p + 1.
INLINE void split_pairs(Words words, c10::BFloat16* even, c10::BFloat16* odd) {
  const Words low = words << 16, high = words & static_cast<int32_t>(0xffff0000);
  const Words even_bits = (not_finite(low) ? Words{} : low) >> 16, odd_bits = (not_finite(high) ? Words{} : high) >> 16;
  *reinterpret_cast<Shorts*>(even) = __builtin_convertvector(even_bits & 0xffff, Shorts);
  if (odd) *reinterpret_cast<Shorts*>(odd) = __builtin_convertvector(odd_bits & 0xffff, Shorts);
}

template <class C>
KERNEL void turned(const C* rows, int64_t height, int64_t dim, C* out) {
  constexpr int64_t pair = kPair<C>;
  const int64_t words = (dim + pair - 1) / pair;
  const auto* from = reinterpret_cast<const int32_t*>(rows);
  for (int64_t r = 0; r < height; r += FOVEA_LANES) {
    for (int64_t w = 0; w < words; w += FOVEA_LANES) {
      Words block[FOVEA_LANES];
#pragma GCC unroll 16
      for (int64_t i = 0; i < FOVEA_LANES; ++i) {
        block[i] = (Words)load_first(reinterpret_cast<const float*>(from + (r + i) * words + w), words - w);
      }
      turn(block);
#pragma GCC unroll 16
      for (int64_t i = 0; i < FOVEA_LANES; ++i) {
        if (w + i >= words) continue;
        C* to = out + (w + i) * pair * height + r;
        if constexpr (pair == 1) {
          *reinterpret_cast<Words*>(to) = not_finite(block[i]) ? Words{} : block[i];
        } else {
          split_pairs(block[i], to, (w + i) * pair + 1 < dim ? to + height : nullptr);
        }
      }
    }
  }
}

// The factors of a vector of dims.
INLINE NF factors_of(const Factors& factors, int64_t d, int64_t dim) {
  const NF all = NF{} + factors.all;
  return factors.by_dim ? all * load_first(factors.by_dim + d, dim - d) : all;
}

template <class T>
KERNEL void stored(const Rows<float>& rows, T* to, int64_t stride, const Factors& factors) {
  for (int64_t r = 0; r < rows.count; ++r) {
    const float* from = rows.data + r * rows.stride;
    const float by_row = factors.by_row ? factors.by_row[r] : 1.0f;
    for (int64_t d = 0; d < rows.dim; d += FOVEA_LANES) {
      const NF numbers = load_first(from + d, rows.dim - d) * (by_row * factors_of(factors, d, rows.dim));
      store_first(to + r * stride + d, rows.dim - d, numbers);
    }
  }
}

template <class T>
KERNEL void stored_columns(const Rows<float>& columns, T* to, int64_t stride, const Factors& factors) {
  for (int64_t c = 0; c < columns.count; c += FOVEA_LANES) {
    for (int64_t d = 0; d < columns.dim; d += FOVEA_LANES) {
      Words block[FOVEA_LANES];
#pragma GCC unroll 16
      for (int64_t i = 0; i < FOVEA_LANES; ++i) {
        const float* from = columns.data + (d + i) * columns.stride + c;
        block[i] = d + i < columns.dim ? (Words)load_number(from) : Words{};
      }
      turn(block);
      const NF factor = factors_of(factors, d, columns.dim);
#pragma GCC unroll 16
      for (int64_t i = 0; i < FOVEA_LANES; ++i) {
        if (c + i < columns.count) store_first(to + (c + i) * stride + d, columns.dim - d, (NF)block[i] * factor);
      }
    }
  }
}

// Lanes are rows: each sum runs over the dims in their order, as that of a product does. With peaked weights a
// gradient is the difference of two such sums, whose errors are then nearly the same.
template <class T>
KERNEL void dots(const Rows<T>& rows, const float* others, float* sums) {
  for (int64_t r = 0; r < rows.count; r += FOVEA_LANES) {
    NF sum = {};
    for (int64_t d = 0; d < rows.dim; d += FOVEA_LANES) {
      Words a[FOVEA_LANES], b[FOVEA_LANES];
#pragma GCC unroll 16
      for (int64_t i = 0; i < FOVEA_LANES; ++i) {
        const bool inside = r + i < rows.count;
        a[i] = inside ? (Words)load_first(rows.data + (r + i) * rows.stride + d, rows.dim - d) : Words{};
        b[i] = inside ? (Words)load_first(others + (r + i) * rows.dim + d, rows.dim - d) : Words{};
      }
      turn(a);
      turn(b);
#pragma GCC unroll 16
      for (int64_t i = 0; i < FOVEA_LANES; ++i) sum = (NF)a[i] * (NF)b[i] + sum;
    }
    store_first(sums + r, rows.count - r, sum);
  }
}
