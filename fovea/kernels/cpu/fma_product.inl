// Of one instruction set; see each_isa.inl.
#include "fovea/kernels/cpu/fma_block.inl"

template <int kRows, int kVectors>
INLINE void store_block(const ProductOperands<float>& operands, const ProductTile& to) {
  NF products[kRows][kVectors];
  multiply(operands, products);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kVectors; ++c) store(to.products + r * to.stride + c * FOVEA_LANES, to_floats(products[r][c]));
  }
}

template <int kVectors>
INLINE void store_rows(ProductOperands<float> operands, ProductTile to) {
  const auto skip = [&](int32_t rows) {
    operands.a += rows * operands.dim;
    to.products += rows * to.stride;
    to.rows -= rows;
  };
  while (to.rows >= kBlockRows) {
    store_block<kBlockRows, kVectors>(operands, to);
    skip(kBlockRows);
  }
  if (to.rows >= 4) {
    store_block<4, kVectors>(operands, to);
    skip(4);
  }
  if (to.rows >= 2) store_block<2, kVectors>(operands, to);
}

KERNEL void product(const ProductOperands<float>& operands, const ProductTile& to) {
  alignas(64) float room[kWidestHead * kPanel];
  for (int32_t c = 0; c < to.columns; c += kPanel) {
    const auto panel = panel_at(operands, c, room);
    ProductTile here = to;
    here.products += c;
    switch (std::min(to.columns - c, kPanel) / FOVEA_LANES) {
      case 4:
        if constexpr (kPanelVectors == 4) store_rows<4>(panel, here);
        break;
      case 3:
        if constexpr (kPanelVectors == 4) store_rows<3>(panel, here);
        break;
      case 2:
        store_rows<2>(panel, here);
        break;
      default:
        store_rows<1>(panel, here);
    }
  }
}
