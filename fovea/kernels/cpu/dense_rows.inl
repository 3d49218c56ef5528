// The rows of one instruction set; see each_isa.inl.

typedef uint8_t Bytes __attribute__((vector_size(FOVEA_LANES), aligned(1), may_alias));
// Half a vector, as float64 and as float32.
typedef double Wide __attribute__((vector_size(4 * FOVEA_LANES), aligned(8), may_alias));
typedef float Narrow __attribute__((vector_size(2 * FOVEA_LANES), aligned(4), may_alias));

#include "fovea/kernels/cpu/numbers.inl"
#include "fovea/kernels/cpu/turn.inl"

template <class T>
INLINE void add_row(float* scores, const T* bias, int32_t columns) {
  int32_t c = 0;
  for (; c + FOVEA_LANES <= columns; c += FOVEA_LANES) {
    store_number(scores + c, load_number(scores + c) + load_number(bias + c));
  }
  for (; c < columns; ++c) scores[c] += static_cast<float>(bias[c]);
}

INLINE void add_number(float* scores, float bias, int32_t columns) {
  for (int32_t c = 0; c < columns; c += FOVEA_LANES) store_number(scores + c, load_number(scores + c) + bias);
}

template <class T>
INLINE void copy_row(const T* from, float (&to)[16]) {
  for (int i = 0; i < 16; i += FOVEA_LANES) store_number(to + i, load_number(from + i));
}

// Rows become columns.
INLINE void turn(Block& block) {
  constexpr int L = FOVEA_LANES;
  const auto words = [&](int row, int column) -> Words& { return *reinterpret_cast<Words*>(&block.row[row][column]); };
  for (int r = 0; r < 16; r += L) {
    for (int c = 0; c <= r; c += L) {
      Words lower[L], upper[L];
      for (int i = 0; i < L; ++i) lower[i] = words(r + i, c);
      turn(lower);
      if (c < r) {
        for (int i = 0; i < L; ++i) upper[i] = words(c + i, r);
        turn(upper);
        for (int i = 0; i < L; ++i) words(r + i, c) = upper[i];
      }
      for (int i = 0; i < L; ++i) words(c + i, r) = lower[i];
    }
  }
}

template <class T>
KERNEL void dense_bias(const void* f, const ScoreTile& t) {
  const auto& bias = *static_cast<const DenseBias*>(f);
  const Place<T> place(bias.values, t);
  const int32_t columns = keys_inside(t, bias.keys);
  for (int32_t r = 0; r < t.rows; ++r) {
    if (place.lane) {
      add_row(t.scores + r * t.stride, place.row(r), columns);
    } else {
      add_number(t.scores + r * t.stride, static_cast<float>(*place.row(r)), t.columns);
    }
  }
}

// Keys are rows: blocks of 16 by 16 are turned on the way.
template <class T>
KERNEL void dense_bias_transposed(const void* f, const ScoreTile& t) {
  const auto& bias = *static_cast<const DenseBias*>(f);
  const Place<T> place(bias.values, t);
  if (!place.stride) {
    for (int32_t r = 0; r < t.rows; ++r) {
      add_number(t.scores + r * t.stride, static_cast<float>(place.at(0, r)), t.columns);
    }
    return;
  }
  Block block;
  for_each_block(t, bias.queries, [&](int32_t r0, int32_t c0, int32_t rows, int32_t columns) FOVEA_TARGET {
    for (int32_t c = 0; c < columns; ++c) {
      if (place.lane && rows == 16) {
        copy_row(place.row(c0 + c) + r0, block.row[c]);
        __builtin_prefetch(place.row(c0 + c + 16) + r0);
      } else {
        for (int32_t r = 0; r < rows; ++r) block.row[c][r] = static_cast<float>(place.at(c0 + c, r0 + r));
      }
    }
    turn(block);
    for (int32_t r = 0; r < rows; ++r) add_row(t.scores + (r0 + r) * t.stride + c0, block.row[r], columns);
  });
}

// body(query, key, numbers, count): d(loss) / d(score) of a query and up to 16 keys, of a transposed tile.
template <class Body>
INLINE void for_each_row(const DenseBias& bias, const ScoreTile& t, const Body& body) {
  Block block;
  for_each_block(t, bias.queries, [&](int32_t r0, int32_t c0, int32_t rows, int32_t columns) FOVEA_TARGET {
    for (int32_t r = 0; r < rows; ++r) copy_row(t.slopes + (r0 + r) * t.stride + c0, block.row[r]);
    turn(block);
    for (int32_t c = 0; c < columns; ++c) body(t.q0 + c0 + c, t.k0 + r0, block.row[c], rows);
  });
}

// sums[q, k] += d(loss) / d(score).
KERNEL void learn_shared_bias(const void* f, const ScoreTile& t, void* sums) {
  const auto& bias = *static_cast<const DenseBias*>(f);
  for_each_row(bias, t, [&](int64_t query, int64_t key, const float* numbers, int32_t count) FOVEA_TARGET {
    float* to = static_cast<float*>(sums) + (bias.each_query ? query : 0) * bias.learned_row;
    if (bias.each_key) {
      add_row(to + key, numbers, count);
      __builtin_prefetch(to + 16 * bias.learned_row + key, /*write=*/1);
    } else {
      for (int32_t i = 0; i < count; ++i) *to += numbers[i];
    }
  });
}

// gradient[q, k] = d(loss) / d(score).
template <class T>
KERNEL void learn_own_bias(const void* f, const ScoreTile& t, void* gradient) {
  const auto& bias = *static_cast<const DenseBias*>(f);
  for_each_row(bias, t, [&](int64_t query, int64_t key, const float* numbers, int32_t count) FOVEA_TARGET {
    T* to = static_cast<T*>(gradient) + query * bias.learned_row + key;
    for (int32_t i = 0; i < count; i += FOVEA_LANES) store_first(to + i, count - i, load_number(numbers + i));
    __builtin_prefetch(to + 16 * bias.learned_row, /*write=*/1);
  });
}

KERNEL void dense_mask(const void* f, const ScoreTile& t) {
  const auto& mask = *static_cast<const DenseMask*>(f);
  const Place<uint8_t> place(mask.values, t);
  const int32_t columns = keys_inside(t, mask.keys);
  for (int32_t r = 0; r < t.rows; ++r) {
    float* scores = t.scores + r * t.stride;
    const uint8_t* row = place.row(r);
    if (!place.lane) {
      if (!*row) std::fill(scores, scores + columns, -kInfinity);
      continue;
    }
    int32_t c = 0;
    for (; c + FOVEA_LANES <= columns; c += FOVEA_LANES) {
      simd::Bools<FOVEA_LANES> keep;
      *reinterpret_cast<NI*>(keep.x) = __builtin_convertvector(*reinterpret_cast<const Bytes*>(row + c), NI) != 0;
      store(scores + c, select(keep, load(scores + c, F{}), broadcast(-kInfinity, F{})));
    }
    for (; c < columns; ++c) scores[c] = row[c] ? scores[c] : -kInfinity;
  }
}

KERNEL void dense_mask_transposed(const void* f, const ScoreTile& t) {
  const auto& mask = *static_cast<const DenseMask*>(f);
  const Place<uint8_t> place(mask.values, t);
  for_each_block(t, mask.queries, [&](int32_t r0, int32_t c0, int32_t rows, int32_t columns) FOVEA_TARGET {
    for (int32_t c = 0; c < columns; ++c) {
      for (int32_t r = 0; r < rows; ++r) {
        if (!place.at(c0 + c, r0 + r)) t.scores[(r0 + r) * t.stride + c0 + c] = -kInfinity;
      }
    }
  });
}

template <bool kTransposed>
KERNEL void diagonal_bias(const void* f, const ScoreTile& t) {
  const auto& bias = *static_cast<const DiagonalBias*>(f);
  const float* values = bias.values + t.batch * bias.batch + t.head * bias.head;
  for (int32_t r = 0; r < t.rows; ++r) {
    const float* row = values + diagonal<kTransposed>(bias, t, r);
    for (int32_t c = 0; c < t.columns; c += FOVEA_LANES) {
      float* to = t.scores + r * t.stride + c;
      store(to, load(to, F{}) + load(row + c, F{}));
    }
  }
}

KERNEL void learn_diagonal_bias(const void* f, const ScoreTile& t, void* sums) {
  const auto& bias = *static_cast<const DiagonalBias*>(f);
  for (int32_t r = 0; r < t.rows; ++r) {
    float* row = static_cast<float*>(sums) + diagonal<true>(bias, t, r);
    const float* grad = t.slopes + r * t.stride;
    for (int32_t c = 0; c < t.columns; c += FOVEA_LANES) {
      store(row + c, load(row + c, F{}) + load(grad + c, F{}));
    }
  }
}

template <bool kTransposed>
KERNEL void difference_bias(const void* f, const ScoreTile& t) {
  const auto& bias = *static_cast<const DifferenceBias*>(f);
  const double* values = bias.values + t.batch * bias.batch + t.head * bias.head;
  const double *rows = values + (kTransposed ? t.k0 : t.q0), *columns = values + (kTransposed ? t.q0 : t.k0);
  for (int32_t r = 0; r < t.rows; ++r) {
    float* to = t.scores + r * t.stride;
    for (int32_t c = 0; c < t.columns; c += FOVEA_LANES / 2) {
      const Wide of_columns = *reinterpret_cast<const Wide*>(columns + c);
      const Wide difference = kTransposed ? of_columns - rows[r] : rows[r] - of_columns;
      *reinterpret_cast<Narrow*>(to + c) += __builtin_convertvector(difference, Narrow);
    }
  }
}

KERNEL void learn_difference_bias(const void*, const ScoreTile& t, void* sums) {
  auto* wide_sums = static_cast<double*>(sums);
  for (int32_t r = 0; r < t.rows; ++r) {
    const float* grad = t.slopes + r * t.stride;
    Wide total = {};
    for (int32_t c = 0; c < t.columns; c += FOVEA_LANES / 2) {
      const Wide of_pairs = __builtin_convertvector(*reinterpret_cast<const Narrow*>(grad + c), Wide);
      *reinterpret_cast<Wide*>(wide_sums + t.q0 + c) += of_pairs;
      total += of_pairs;
    }
    for (int i = 0; i < FOVEA_LANES / 2; ++i) wide_sums[t.k0 + r] -= total[i];
  }
}

static DensePrograms programs() {
  return {{dense_bias<float>, dense_bias_transposed<float>},
          {dense_bias<c10::BFloat16>, dense_bias_transposed<c10::BFloat16>},
          {dense_mask, dense_mask_transposed},
          {diagonal_bias<false>, diagonal_bias<true>},
          {difference_bias<false>, difference_bias<true>},
          learn_shared_bias,
          learn_own_bias<float>,
          learn_own_bias<c10::BFloat16>,
          learn_diagonal_bias,
          learn_difference_bias};
}
