// Of one instruction set; see each_isa.inl.
#include "fovea/kernels/cpu/fma_rows.inl"

template <bool kColumns>
KERNEL void value_sums(const ValueSums& sums, float* out, int64_t out_stride) {
  const Rows<float>& values = sums.values;
  for (int64_t d = 0; d < values.dim; d += kPanel) {
    const ProductRows rows{{sums.weights, values.data + d, values.count, sums.weight_stride, values.stride},
                           sums.factors, out + d, out_stride, sums.rows, sums.add};
    store_panel<kColumns>(rows, values.dim - d);
  }
}
