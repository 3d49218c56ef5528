// Of one instruction set; see each_isa.inl.
#include "fovea/kernels/cpu/fold.inl"
#include "fovea/kernels/cpu/numbers.inl"

INLINE float largest_of_row(const float* row, int64_t width) {
  F largest = load(row, F{});
  for (int64_t r = FOVEA_LANES; r < width; r += FOVEA_LANES) largest = max(largest, load(row + r, F{}));
  return largest_of(largest);
}

// exp(row - by) to `out`, which may be the row.
INLINE void exponentials(const float* row, int64_t count, float by, float* out) {
  for (int64_t r = 0; r < count; r += FOVEA_LANES) {
    const F feature = exp(to_floats(load_first(row + r, count - r) - by));
    store_first(out + r, count - r, *reinterpret_cast<const NF*>(feature.x));
  }
}

// Powers stand in whole vectors, with -infinity behind them.
KERNEL void divided_exponentials(const Powers& powers, float* out, int64_t stride) {
  for (int64_t i = 0; i < powers.rows; ++i) {
    const float* row = powers.data + i * powers.width;
    exponentials(row, powers.features, largest_of_row(row, powers.width), out + i * stride);
  }
}

KERNEL void finished_powers(const Powers& powers, const Rows<float>& x, float norm, float* out, int64_t stride,
                            float* largest) {
  for (int64_t i = 0; i < powers.rows; ++i) {
    float* row = powers.data + i * powers.width;
    const float* from = x.data + i * x.stride;
    NF squares = {};
    for (int64_t d = 0; d < x.dim; d += FOVEA_LANES) {
      const NF numbers = load_first(from + d, x.dim - d);
      squares += numbers * numbers;
    }
    const float less = norm * sum_of(to_floats(squares));
    for (int64_t r = 0; r < powers.width; r += FOVEA_LANES) store_number(row + r, load_number(row + r) - less);
    largest[i] = largest_of_row(row, powers.width);
    std::copy_n(row, powers.features, out + i * stride);
  }
}

KERNEL void exponentiated_rows(float* rows, int64_t stride, int64_t count, int64_t features, float by) {
  for (int64_t i = 0; i < count; ++i) exponentials(rows + i * stride, features, by, rows + i * stride);
}

// grad * features in whole vectors, 0 behind them, and the sums of its rows.
KERNEL void power_gradients(const Rows<float>& grad, const Rows<float>& features, int64_t width, float* out,
                            float* sums) {
  for (int64_t i = 0; i < grad.count; ++i) {
    const float *given = grad.data + i * grad.stride, *feature = features.data + i * features.stride;
    NF sum = {};
    for (int64_t r = 0; r < width; r += FOVEA_LANES) {
      const NF product = load_first(given + r, grad.dim - r) * load_first(feature + r, grad.dim - r);
      store_number(out + i * width + r, product);
      sum += product;
    }
    sums[i] = sum_of(to_floats(sum));
  }
}

// from - factor sums[i] x_i, `from` (rows, width) in whole vectors.
KERNEL void without_norms(const float* from, int64_t width, const Rows<float>& x, float factor, const float* sums,
                          float* out, int64_t stride) {
  for (int64_t i = 0; i < x.count; ++i) {
    const float* row = x.data + i * x.stride;
    for (int64_t d = 0; d < x.dim; d += FOVEA_LANES) {
      const NF numbers = load_first(row + d, x.dim - d);
      store_first(out + i * stride + d, x.dim - d, load_number(from + i * width + d) - factor * sums[i] * numbers);
    }
  }
}

static ExponentialKernels kernels() {
  return {divided_exponentials, finished_powers, exponentiated_rows, power_gradients, without_norms};
}
