// The rows of one instruction set; see each_isa.inl.

#include "fovea/kernels/cpu/exp2.inl"
#include "fovea/kernels/cpu/fold.inl"

// Rows side by side hide each other's latencies, those of sums over lanes above all.
static constexpr int kSoftmaxRows = FOVEA_LANES == 16 ? 4 : 2;

template <int kRows>
INLINE void row_maxima(const SoftmaxTile& tile, const float* first, float (&maxima)[kRows]) {
  F largest[kRows];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) largest[r] = load(first + r * tile.stride, F{});
  for (int32_t c = FOVEA_LANES; c < tile.columns; c += FOVEA_LANES) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) largest[r] = max(load(first + r * tile.stride + c, F{}), largest[r]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) maxima[r] = largest_of(largest[r]);
}

// Scores to units of log2, and the factor that takes those there.
INLINE float multiply(float* row, const SoftmaxTile& tile) {
  for (int32_t c = 0; c < tile.columns; c += FOVEA_LANES) store(row + c, load(row + c, F{}) * tile.factor);
  return 1.0f;
}

template <bool Narrow, int kRows>
INLINE void softmax_block(const SoftmaxTile& tile, const SoftmaxState& state, int32_t begin) {
  float* first = tile.scores + begin * tile.stride;
  float now[kRows], reference[kRows], factor[kRows];
  row_maxima(tile, first, now);
  for (int r = 0; r < kRows; ++r) {
    const float seen = now[r] * tile.factor, before = state.maximum[begin + r];
    now[r] = seen > before ? seen : before;
    // A row that has seen no key yet keeps the maximum -inf; its weights are 2^-inf = 0.
    reference[r] = now[r] == -kInfinity ? 0.0f : now[r];
    factor[r] = std::abs(reference[r]) > kLargestFused ? multiply(first + r * tile.stride, tile) : tile.factor;
  }
  F sum[kRows] = {};
  for (int32_t c = 0; c < tile.columns; c += FOVEA_LANES) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      float* row = first + r * tile.stride + c;
      const F weight = exp2_negative<Narrow>(weight_power(load(row, F{}), factor[r], reference[r]));
      sum[r] = sum[r] + weight;
      if constexpr (Narrow) {
        store_bf16(static_cast<uint16_t*>(tile.weights) + (begin + r) * tile.stride + c, weight);
      } else {
        store(row, weight);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    const float total = sum_of(sum[r]), before = state.maximum[begin + r];
    // Of a row that has seen no key yet all is 0.
    const float scale = now[r] == before || before == -kInfinity ? 1.0f : std::exp2(before - reference[r]);
    state.rescale[begin + r] = scale;
    state.maximum[begin + r] = now[r];
    state.sum[begin + r] = state.sum[begin + r] * scale + total;
  }
}

template <bool Narrow>
KERNEL void softmax_rows(const SoftmaxTile& tile, const SoftmaxState& state) {
  int32_t r = 0;
  for (; r + kSoftmaxRows <= tile.rows; r += kSoftmaxRows) softmax_block<Narrow, kSoftmaxRows>(tile, state, r);
  for (; r < tile.rows; ++r) softmax_block<Narrow, 1>(tile, state, r);
}

template <bool Narrow>
KERNEL void sigmoid_rows(const SoftmaxTile& tile, const SoftmaxState& state) {
  for (int32_t r = 0; r < tile.rows; ++r) {
    float* row = tile.scores + r * tile.stride;
    for (int32_t c = 0; c < tile.columns; c += FOVEA_LANES) {
      const F weight = sigmoid2<Narrow>(weight_power(load(row + c, F{}), tile.factor, state.maximum[r]));
      if constexpr (Narrow) {
        store_bf16(static_cast<uint16_t*>(tile.weights) + r * tile.stride + c, weight);
      } else {
        store(row + c, weight);
      }
    }
  }
}

KERNEL void rescale_rows(float* o, int64_t stride, int32_t rows, int32_t columns, const float* scale) {
  for (int32_t r = 0; r < rows; ++r) {
    if (scale[r] == 1.0f) continue;
    float* row = o + r * stride;
    int32_t c = 0;
    for (; c + FOVEA_LANES <= columns; c += FOVEA_LANES) store(row + c, load(row + c, F{}) * scale[r]);
    for (; c < columns; ++c) row[c] *= scale[r];
  }
}

static SoftmaxKernels softmax(Type type) {
  return {type == Type::bf16 ? softmax_rows<true> : softmax_rows<false>, rescale_rows};
}

static SoftmaxKernels sigmoid(Type type) {
  return {type == Type::bf16 ? sigmoid_rows<true> : sigmoid_rows<false>, rescale_rows};
}
