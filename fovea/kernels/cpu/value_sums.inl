// Of one instruction set; see each_isa.inl.
#include "fovea/kernels/cpu/fma_block.inl"

// Rows of sums over a panel of values.
struct SumRows {
  ProductOperands<float> operands;
  Factors factors;
  float* out;
  int64_t stride;
  int32_t rows;
};

template <int kRows, int kVectors, bool kColumns>
INLINE void sum_block(SumRows& to) {
  NF sums[kRows][kVectors];
  multiply<kRows, kVectors, kColumns>(to.operands, sums);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const float factor = to.factors.by_row ? to.factors.by_row[r] : to.factors.all;
#pragma GCC unroll 4
    for (int c = 0; c < kVectors; ++c) store(to.out + r * to.stride + c * FOVEA_LANES, to_floats(sums[r][c] * factor));
  }
  to.operands.a += kRows * (kColumns ? 1 : to.operands.a_stride);
  if (to.factors.by_row) to.factors.by_row += kRows;
  to.out += kRows * to.stride;
  to.rows -= kRows;
}

template <int kVectors, bool kColumns>
INLINE void sum_rows(SumRows to) {
  while (to.rows >= kBlockRows) sum_block<kBlockRows, kVectors, kColumns>(to);
  if (to.rows >= 4) sum_block<4, kVectors, kColumns>(to);
  if (to.rows >= 2) sum_block<2, kVectors, kColumns>(to);
  if (to.rows >= 1) sum_block<1, kVectors, kColumns>(to);
}

template <bool kColumns>
KERNEL void value_sums(const ValueSums& sums, float* out, int64_t out_stride) {
  const Rows<float>& values = sums.values;
  for (int64_t d = 0; d < values.dim; d += kPanel) {
    const SumRows to{{sums.weights, values.data + d, values.count, sums.weight_stride, values.stride},
                     sums.factors, out + d, out_stride, sums.rows};
    switch (std::min<int64_t>(values.dim - d, kPanel) / FOVEA_LANES) {
      case 4:
        if constexpr (kPanelVectors == 4) sum_rows<4, kColumns>(to);
        break;
      case 3:
        if constexpr (kPanelVectors == 4) sum_rows<3, kColumns>(to);
        break;
      case 2:
        sum_rows<2, kColumns>(to);
        break;
      default:
        sum_rows<1, kColumns>(to);
    }
  }
}
