// Of one instruction set; see each_isa.inl.
#include "fovea/kernels/cpu/numbers.inl"

KERNEL void elu_rows(const Rows<float>& rows, float* out, int64_t stride) {
  for (int64_t r = 0; r < rows.count; ++r) {
    const float* from = rows.data + r * rows.stride;
    float* to = out + r * stride;
    for (int64_t d = 0; d < rows.dim; d += FOVEA_LANES) {
      F x;
      *reinterpret_cast<NF*>(x.x) = load_first(from + d, rows.dim - d);
      const F features = select(x > 0.0f, x + 1.0f, exp(x));
      store_first(to + d, rows.dim - d, *reinterpret_cast<const NF*>(features.x));
    }
  }
}
