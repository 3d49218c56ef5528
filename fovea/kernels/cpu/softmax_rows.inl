// The rows of one instruction set; see each_isa.inl.

#include "fovea/kernels/cpu/exp2.inl"
#include "fovea/kernels/cpu/fold.inl"

INLINE float row_maximum(const float* row, int32_t columns) {
  F even = load(row, F{}), odd = even;
  int32_t c = FOVEA_LANES;
  for (; c + FOVEA_LANES < columns; c += 2 * FOVEA_LANES) {
    even = max(load(row + c, F{}), even);
    odd = max(load(row + c + FOVEA_LANES, F{}), odd);
  }
  if (c < columns) even = max(load(row + c, F{}), even);
  even = max(even, odd);
  return largest_of(even);
}

// Scores to units of log2, and the factor that takes those there.
INLINE float multiply(float* row, const SoftmaxTile& tile) {
  for (int32_t c = 0; c < tile.columns; c += FOVEA_LANES) store(row + c, load(row + c, F{}) * tile.factor);
  return 1.0f;
}

template <bool Narrow>
KERNEL void softmax_rows(const SoftmaxTile& tile, const SoftmaxState& state) {
  for (int32_t r = 0; r < tile.rows; ++r) {
    float* row = tile.scores + r * tile.stride;
    const float seen = row_maximum(row, tile.columns) * tile.factor, before = state.maximum[r];
    const float now = seen > before ? seen : before;
    // A row that has seen no key yet keeps the maximum -inf; its weights are 2^-inf = 0.
    const float reference = now == -kInfinity ? 0.0f : now;
    const float factor = std::abs(reference) > kLargestFused ? multiply(row, tile) : tile.factor;
    F sum = broadcast(0.0f, F{});
    for (int32_t c = 0; c < tile.columns; c += FOVEA_LANES) {
      const F weight = exp2_negative<Narrow>(weight_power(load(row + c, F{}), factor, reference));
      sum = sum + weight;
      if constexpr (Narrow) {
        store_bf16(static_cast<uint16_t*>(tile.weights) + r * tile.stride + c, weight);
      } else {
        store(row + c, weight);
      }
    }
    // Of a row that has seen no key yet all is 0.
    const float scale = now == before || before == -kInfinity ? 1.0f : std::exp2(before - reference);
    state.rescale[r] = scale;
    state.maximum[r] = now;
    state.sum[r] = state.sum[r] * scale + sum_of(sum);
  }
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
