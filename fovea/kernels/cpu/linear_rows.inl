// Of one instruction set; see each_isa.inl.
#include "fovea/kernels/cpu/fold.inl"
#include "fovea/kernels/cpu/numbers.inl"

KERNEL void row_sums(const Rows<float>& rows, const float* factors, const Rows<float>& others, float* sums) {
  for (int64_t r = 0; r < others.count; ++r) {
    const float *row = rows.data + r * rows.stride, *other = others.data + r * others.stride;
    NF sum = {};
    for (int64_t d = 0; d < rows.dim; d += FOVEA_LANES) {
      sum += load_first(row + d, rows.dim - d) * load_first(factors + d, rows.dim - d);
    }
    for (int64_t c = 0; c < others.dim; c += FOVEA_LANES) sum += load_first(other + c, others.dim - c);
    sums[r] = sum_of(to_floats(sum));
  }
}
