// Of one instruction set; see each_isa.inl.
#include "fovea/kernels/cpu/numbers.inl"

INLINE void stored(float* to, int64_t count, const F& x) {
  store_first(to, count, *reinterpret_cast<const NF*>(x.x));
}

KERNEL void elu_of_rows(const Rows<float>& rows, float* out, int64_t stride) {
  for (int64_t r = 0; r < rows.count; ++r) {
    const float* from = rows.data + r * rows.stride;
    float* to = out + r * stride;
    for (int64_t d = 0; d < rows.dim; d += FOVEA_LANES) {
      const F x = to_floats(load_first(from + d, rows.dim - d));
      stored(to + d, rows.dim - d, select(x > 0.0f, x + 1.0f, exp(x)));
    }
  }
}

KERNEL void elu_gradients_of_rows(const Rows<float>& grads, const Rows<float>& rows, float* out,
                                  int64_t stride) {
  for (int64_t r = 0; r < rows.count; ++r) {
    const float *from = rows.data + r * rows.stride, *grad = grads.data + r * grads.stride;
    float* to = out + r * stride;
    for (int64_t d = 0; d < rows.dim; d += FOVEA_LANES) {
      const F x = to_floats(load_first(from + d, rows.dim - d)), g = to_floats(load_first(grad + d, rows.dim - d));
      stored(to + d, rows.dim - d, select(x > 0.0f, g, g * exp(x)));
    }
  }
}
