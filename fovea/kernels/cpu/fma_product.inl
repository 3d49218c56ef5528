// Of one instruction set; see each_isa.inl.
#include "fovea/kernels/cpu/fma_block.inl"

// Rows of products and what they are multiplied with.
struct FactorTile {
  ProductOperands<float> operands;
  ProductTile to;
  float factor;
};

template <int kRows, int kVectors>
INLINE void store_block(FactorTile& tile) {
  ProductTile& to = tile.to;
  NF products[kRows][kVectors];
  multiply(tile.operands, products);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kVectors; ++c) {
      store(to.products + r * to.stride + c * FOVEA_LANES, to_floats(products[r][c] * tile.factor));
    }
  }
  tile.operands.a += kRows * tile.operands.a_stride;
  to.products += kRows * to.stride;
  to.rows -= kRows;
}

template <int kVectors>
INLINE void store_rows(FactorTile tile) {
  while (tile.to.rows >= kBlockRows) store_block<kBlockRows, kVectors>(tile);
  if (tile.to.rows >= 4) store_block<4, kVectors>(tile);
  if (tile.to.rows >= 2) store_block<2, kVectors>(tile);
  if (tile.to.rows >= 1) store_block<1, kVectors>(tile);
}

KERNEL void product(const ProductOperands<float>& operands, float factor, const ProductTile& to) {
  alignas(64) float room[kWidestHead * kPanel];
  for (int32_t c = 0; c < to.columns; c += kPanel) {
    FactorTile here{panel_at(operands, c, room), to, factor};
    here.to.products += c;
    switch (std::min(to.columns - c, kPanel) / FOVEA_LANES) {
      case 4:
        if constexpr (kPanelVectors == 4) store_rows<4>(here);
        break;
      case 3:
        if constexpr (kPanelVectors == 4) store_rows<3>(here);
        break;
      case 2:
        store_rows<2>(here);
        break;
      default:
        store_rows<1>(here);
    }
  }
}
