// The products of one instruction set, with load_part() of each, where there is a quicker one; see each_isa.inl.

#include "fovea/kernels/cpu/numbers.inl"
#include "fovea/kernels/cpu/store_sums.inl"

// Numbers that are loaded together, and query rows of a register tile: as many as 4 accumulators a row allow.
constexpr int64_t kUnit = 2 * FOVEA_LANES, kRows = FOVEA_LANES == 16 ? 4 : 2;

// Of two bfloat16 each, which may stand at any even address.
typedef int32_t Pairs __attribute__((vector_size(4 * FOVEA_LANES), aligned(2), may_alias));

template <class T>
INLINE void load_unit(const T* p, NF& a, NF& b) {
  a = load_number(p);
  b = load_number(p + FOVEA_LANES);
}

// A float is a bfloat16 and 16 more bits: the even numbers and the odd ones, without a shuffle.
INLINE void load_unit(const c10::BFloat16* p, NF& a, NF& b) {
  const NI pairs = *reinterpret_cast<const Pairs*>(p);
  a = (NF)(pairs << 16);
  b = (NF)(pairs & static_cast<int32_t>(0xffff0000));
}

// The first n < kUnit numbers, and 0; nothing beyond them is read.
template <class T>
INLINE void load_part(const T* p, int64_t n, NF& a, NF& b) {
  T numbers[kUnit] = {};
  std::copy(p, p + n, numbers);
  load_unit(numbers, a, b);
}

// The memory lines of a unit, while others are computed with: asked for all at once, they would be waited for.
template <class T>
INLINE void fetch_unit(const void* row, int64_t d) {
  const auto* p = reinterpret_cast<const char*>(static_cast<const T*>(row) + d);
#pragma GCC unroll 2
  for (size_t i = 0; i < kUnit * sizeof(T); i += 64) __builtin_prefetch(p + i, 0, 2);
}

template <int Rows>
INLINE void dot_step(const float* q, int64_t width, NF a, NF b, NF* sums) {
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
    sums[4 * r] += a * load_number(q + r * width);
    sums[4 * r] += b * load_number(q + r * width + FOVEA_LANES);
  }
}

// Rows x 4 scores.
template <class T, int Rows>
INLINE void dot_tile(const DotRows& t, const T* const* k, const void* const* next, int64_t row,
                     int32_t column) {
  const int64_t width = packed_width(t.dim), whole = t.dim / kUnit * kUnit;
  const float* q = t.q + row * width;
  NF sums[4 * Rows] = {}, a, b;
  for (int64_t d = 0; d < whole; d += kUnit) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      fetch_unit<T>(next[j], d);
      load_unit(k[j] + d, a, b);
      dot_step<Rows>(q + d, width, a, b, sums + j);
    }
  }
  if (whole < t.dim) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      load_part(k[j] + whole, t.dim - whole, a, b);
      dot_step<Rows>(q + whole, width, a, b, sums + j);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
    store_sums(sums[4 * r], sums[4 * r + 1], sums[4 * r + 2], sums[4 * r + 3],
               t.scores + (row + r) * t.stride + column);
  }
}

template <class T>
KERNEL void dot_rows(const DotRows& t) {
  for (int32_t j = 0; j < t.keys.count; j += 4) {
    const T* k[4];
    const void* next[4];
    for (int32_t i = 0; i < 4; ++i) {
      const int32_t inside = std::min(j + i, t.keys.count - 1);
      k[i] = static_cast<const T*>(t.keys.rows[inside]);
      next[i] = t.keys.next[inside];
    }
    int64_t r = 0;
    for (; r + kRows <= t.rows; r += kRows) dot_tile<T, kRows>(t, k, next, r, j);
    if (t.rows - r == 3) dot_tile<T, 3>(t, k, next, r, j);
    if (t.rows - r == 2) dot_tile<T, 2>(t, k, next, r, j);
    if (t.rows - r == 1) dot_tile<T, 1>(t, k, next, r, j);
  }
}

// Rows x Units sums over the values [begin, end); the last unit may be a part of one.
template <class T, int Rows, int Units, bool Part>
INLINE void sum_tile(const SumRows& t, int64_t row, int64_t d, int32_t begin, int32_t end) {
  const int64_t width = packed_width(t.dim);
  const float* weights = t.weights + row * t.stride;
  float* out = t.out + row * width + d;
  NF sums[Rows][2 * Units];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < 2 * Units; ++i) sums[r][i] = load_number(out + r * width + i * FOVEA_LANES);
  }
  for (int32_t j = begin; j < end; ++j) {
    const T* value = static_cast<const T*>(t.values.rows[j]) + d;
#pragma GCC unroll 4
    for (int u = 0; u < Units; ++u) {
      NF a, b;
      fetch_unit<T>(t.values.next[j], d + u * kUnit);
      if constexpr (Part) {
        load_part(value, t.dim - d, a, b);
      } else {
        load_unit(value + u * kUnit, a, b);
      }
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) {
        sums[r][2 * u] += a * weights[r * t.stride + j];
        sums[r][2 * u + 1] += b * weights[r * t.stride + j];
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < 2 * Units; ++i) store_number(out + r * width + i * FOVEA_LANES, sums[r][i]);
  }
}

template <class T, int Rows>
INLINE void sum_row_tile(const SumRows& t, int64_t row, int32_t begin, int32_t end) {
  constexpr int kUnits = 2;
  int64_t d = 0;
  for (; d + kUnits * kUnit <= t.dim; d += kUnits * kUnit) {
    sum_tile<T, Rows, kUnits, false>(t, row, d, begin, end);
  }
  for (; d + kUnit <= t.dim; d += kUnit) sum_tile<T, Rows, 1, false>(t, row, d, begin, end);
  if (d < t.dim) sum_tile<T, Rows, 1, true>(t, row, d, begin, end);
}

// For many rows by pieces of values that stay in the first-level cache.
template <class T>
KERNEL void sum_rows(const SumRows& t) {
  const int32_t piece = t.rows <= kRows ? t.values.count : 32;
  for (int32_t begin = 0; begin < t.values.count; begin += piece) {
    const int32_t end = std::min(begin + piece, t.values.count);
    int64_t r = 0;
    for (; r + kRows <= t.rows; r += kRows) sum_row_tile<T, kRows>(t, r, begin, end);
    if (t.rows - r == 3) sum_row_tile<T, 3>(t, r, begin, end);
    if (t.rows - r == 2) sum_row_tile<T, 2>(t, r, begin, end);
    if (t.rows - r == 1) sum_row_tile<T, 1>(t, r, begin, end);
  }
}

template <class T>
KERNEL void pack_row(const void* from, int64_t dim, float factor, float* to) {
  const T* row = static_cast<const T*>(from);
  std::fill(to, to + packed_width(dim), 0.0f);
  for (int64_t d = 0; d < dim; d += kUnit) {
    NF a, b;
    if (d + kUnit <= dim) {
      load_unit(row + d, a, b);
    } else {
      load_part(row + d, dim - d, a, b);
    }
    store_number(to + d, a * factor);
    store_number(to + d + FOVEA_LANES, b * factor);
  }
}

template <class T>
KERNEL void unpack_row(const float* from, int64_t dim, float factor, float* to) {
  for (int64_t d = 0; d < dim; ++d) {
    const int64_t i = d % kUnit;
    const bool split = std::is_same_v<T, c10::BFloat16>;
    to[d] = factor * from[split ? d - i + i % 2 * FOVEA_LANES + i / 2 : d];
  }
}

template <class T>
DecodeKernels kernels_of() {
  return {dot_rows<T>, sum_rows<T>, pack_row<T>, unpack_row<T>};
}

static DecodeKernels kernels(Type type) {
  switch (type) {
    case Type::f32:
      return kernels_of<float>();
    case Type::bf16:
      return kernels_of<c10::BFloat16>();
    case Type::f16:
      return kernels_of<c10::Half>();
  }
  return {};
}
