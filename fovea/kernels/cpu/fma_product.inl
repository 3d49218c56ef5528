// Of one instruction set; see each_isa.inl.
#include "fovea/kernels/cpu/fma_rows.inl"

KERNEL void product(const ProductOperands<float>& operands, float factor, const ProductTile& to) {
  alignas(64) float room[kWidestHead * kPanel];
  for (int32_t c = 0; c < to.columns; c += kPanel) {
    const ProductRows rows{panel_at(operands, c, room), {.all = factor}, to.products + c, to.stride, to.rows, /*add=*/false};
    store_panel<false>(rows, to.columns - c);
  }
}
