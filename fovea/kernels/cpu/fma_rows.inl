// Products of rows to memory, of one instruction set; see each_isa.inl.
#include "fovea/kernels/cpu/fma_block.inl"

// Rows of products over a panel of columns.
struct ProductRows {
  ProductOperands<float> operands;
  Factors factors;  // without by_dim
  float* out;
  int64_t stride;
  int32_t rows;
  bool add;  // the products, to what `out` holds, before factors
};

template <int kRows, int kVectors, bool kColumns>
INLINE void store_block(ProductRows& to) {
  NF products[kRows][kVectors];
  multiply<kRows, kVectors, kColumns>(to.operands, products);
  if (to.add) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < kVectors; ++c) {
        products[r][c] += *reinterpret_cast<const NF*>(to.out + r * to.stride + c * FOVEA_LANES);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const float factor = to.factors.by_row ? to.factors.by_row[r] : to.factors.all;
#pragma GCC unroll 4
    for (int c = 0; c < kVectors; ++c) {
      store(to.out + r * to.stride + c * FOVEA_LANES, to_floats(products[r][c] * factor));
    }
  }
  to.operands.a += kRows * (kColumns ? 1 : to.operands.a_stride);
  if (to.factors.by_row) to.factors.by_row += kRows;
  to.out += kRows * to.stride;
  to.rows -= kRows;
}

template <int kVectors, bool kColumns>
INLINE void store_rows(ProductRows to) {
  while (to.rows >= kBlockRows) store_block<kBlockRows, kVectors, kColumns>(to);
  if (to.rows >= 4) store_block<4, kVectors, kColumns>(to);
  if (to.rows >= 2) store_block<2, kVectors, kColumns>(to);
  if (to.rows >= 1) store_block<1, kVectors, kColumns>(to);
}

// Of the first columns, at most a panel of them; kColumns: A lies the other way round.
template <bool kColumns>
INLINE void store_panel(const ProductRows& to, int64_t columns) {
  switch (std::min<int64_t>(columns, kPanel) / FOVEA_LANES) {
    case 4:
      if constexpr (kPanelVectors == 4) store_rows<4, kColumns>(to);
      return;
    case 3:
      if constexpr (kPanelVectors == 4) store_rows<3, kColumns>(to);
      return;
    case 2:
      return store_rows<2, kColumns>(to);
    default:
      return store_rows<1, kColumns>(to);
  }
}
