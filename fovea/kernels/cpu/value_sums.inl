// Of one instruction set; see each_isa.inl.
#include "fovea/kernels/cpu/fma_block.inl"

// Rows of sums over a panel of values.
struct SumRows {
  ProductOperands<float> operands;
  const float* by_row;
  float* out;
  int64_t stride;
  int32_t rows;
};

template <int kRows, int kVectors>
INLINE void sum_block(SumRows& to) {
  NF sums[kRows][kVectors];
  multiply(to.operands, sums);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kVectors; ++c) {
      store(to.out + r * to.stride + c * FOVEA_LANES, to_floats(sums[r][c] * to.by_row[r]));
    }
  }
  to.operands.a += kRows * to.operands.a_stride;
  to.by_row += kRows;
  to.out += kRows * to.stride;
  to.rows -= kRows;
}

template <int kVectors>
INLINE void sum_rows(SumRows to) {
  while (to.rows >= kBlockRows) sum_block<kBlockRows, kVectors>(to);
  if (to.rows >= 4) sum_block<4, kVectors>(to);
  if (to.rows >= 2) sum_block<2, kVectors>(to);
  if (to.rows >= 1) sum_block<1, kVectors>(to);
}

KERNEL void value_sums(const ValueSums& sums, float* out, int64_t out_stride) {
  for (int64_t d = 0; d < sums.values.dim; d += kPanel) {
    const SumRows to{{sums.weights, sums.values.data + d, sums.values.count, sums.weight_stride, sums.values.stride},
                     sums.by_row, out + d, out_stride, sums.rows};
    switch (std::min<int64_t>(sums.values.dim - d, kPanel) / FOVEA_LANES) {
      case 4:
        if constexpr (kPanelVectors == 4) sum_rows<4>(to);
        break;
      case 3:
        if constexpr (kPanelVectors == 4) sum_rows<3>(to);
        break;
      case 2:
        sum_rows<2>(to);
        break;
      default:
        sum_rows<1>(to);
    }
  }
}
