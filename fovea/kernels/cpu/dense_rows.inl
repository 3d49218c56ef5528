// The rows of one instruction set; included by dense_programs.cpp with FOVEA_LANES and FOVEA_TARGET.
#define KERNEL FOVEA_TARGET __attribute__((flatten)) static
#define INLINE FOVEA_TARGET static inline
#define F simd::Floats<FOVEA_LANES>
#define NI simd::lanes::Native<FOVEA_LANES>::i

typedef uint16_t Shorts __attribute__((vector_size(2 * FOVEA_LANES), aligned(2), may_alias));
typedef uint8_t Bytes __attribute__((vector_size(FOVEA_LANES), aligned(1), may_alias));

INLINE F load_number(const float* p) { return load(p, F{}); }
INLINE F load_number(const c10::BFloat16* p) {
  F r;
  *reinterpret_cast<NI*>(r.x) = __builtin_convertvector(*reinterpret_cast<const Shorts*>(p), NI) << 16;
  return r;
}

template <class T>
INLINE void add_row(float* scores, const T* bias, int32_t columns) {
  int32_t c = 0;
  for (; c + FOVEA_LANES <= columns; c += FOVEA_LANES) {
    store(scores + c, load(scores + c, F{}) + load_number(bias + c));
  }
  for (; c < columns; ++c) scores[c] += static_cast<float>(bias[c]);
}

INLINE void add_number(float* scores, float bias, int32_t columns) {
  for (int32_t c = 0; c < columns; c += FOVEA_LANES) store(scores + c, load(scores + c, F{}) + bias);
}

template <class T, bool kTransposed>
KERNEL void dense_bias(const void* f, const ScoreTile& t) {
  const auto& bias = *static_cast<const DenseBias*>(f);
  const Place place(bias.values, t, kTransposed);
  const int32_t columns = inside(t, kTransposed ? bias.queries : bias.keys, kTransposed);
  for (int32_t r = 0; r < t.rows; ++r) {
    const T* row = place.row<T>(r);
    if (place.lane) {
      add_row(t.scores + r * t.stride, row, columns);
    } else {
      add_number(t.scores + r * t.stride, static_cast<float>(*row), t.columns);
    }
  }
}

KERNEL void learn_dense_bias(const void* f, const ScoreTile& t, float* sums) {
  const auto& bias = *static_cast<const DenseBias*>(f);
  const bool lanes = bias.for_each_query;
  for (int32_t r = 0; r < t.rows; ++r) {
    float* row = sums + (t.k0 + r) * bias.sums_row + (lanes ? t.q0 : 0);
    const float* grad = t.slopes + r * t.stride;
    for (int32_t c = 0; c < t.columns; c += FOVEA_LANES) {
      float* to = lanes ? row + c : row;
      store(to, load(to, F{}) + load(grad + c, F{}));
    }
  }
}

template <bool kTransposed>
KERNEL void dense_mask(const void* f, const ScoreTile& t) {
  const auto& mask = *static_cast<const DenseMask*>(f);
  const Place place(kTransposed ? mask.transposed : mask.plain, t, kTransposed);
  const int32_t columns = inside(t, kTransposed ? mask.queries : mask.keys, kTransposed);
  for (int32_t r = 0; r < t.rows; ++r) {
    float* scores = t.scores + r * t.stride;
    const uint8_t* row = place.row<uint8_t>(r);
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

KERNEL void learn_diagonal_bias(const void* f, const ScoreTile& t, float* sums) {
  const auto& bias = *static_cast<const DiagonalBias*>(f);
  for (int32_t r = 0; r < t.rows; ++r) {
    float* row = sums + diagonal<true>(bias, t, r);
    const float* grad = t.slopes + r * t.stride;
    for (int32_t c = 0; c < t.columns; c += FOVEA_LANES) {
      store(row + c, load(row + c, F{}) + load(grad + c, F{}));
    }
  }
}

static DensePrograms programs() {
  return {{dense_bias<float, false>, dense_bias<float, true>},
          {dense_bias<c10::BFloat16, false>, dense_bias<c10::BFloat16, true>},
          {dense_mask<false>, dense_mask<true>},
          {diagonal_bias<false>, diagonal_bias<true>},
          learn_dense_bias,
          learn_diagonal_bias};
}

#undef KERNEL
#undef INLINE
#undef F
#undef NI
