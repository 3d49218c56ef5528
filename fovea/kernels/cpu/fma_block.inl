// Products in registers, of one instruction set; see each_isa.inl.
#include "fovea/kernels/cpu/floats.inl"

// Rows a multiple of 1 KiB apart share few places of the first-level cache.
static constexpr int64_t kCrowdedStride = 256, kWidestHead = 256;

// A panel is so many vectors of columns, and a block as many rows as leave registers for a row of the panel and a
// number.
static constexpr int32_t kPanelVectors = FOVEA_LANES == 16 ? 4 : 2, kPanel = kPanelVectors * FOVEA_LANES,
                         kBlockRows = 6;

// kRows rows of A, or where it lies the other way round columns, times kVectors vectors of columns of B.
template <int kRows, int kVectors, bool kColumns = false>
INLINE void multiply(const ProductOperands<float>& p, NF (&products)[kRows][kVectors]) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kVectors; ++c) products[r][c] = NF{};
  }
  const float* b = p.b;
  for (int64_t d = 0; d < p.dim; ++d, b += p.b_stride) {
    NF row[kVectors];
#pragma GCC unroll 4
    for (int c = 0; c < kVectors; ++c) row[c] = *reinterpret_cast<const NF*>(b + c * FOVEA_LANES);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const NF number = (kColumns ? p.a[d * p.a_stride + r] : p.a[r * p.a_stride + d]) - NF{};
#pragma GCC unroll 4
      for (int c = 0; c < kVectors; ++c) products[r][c] += number * row[c];
    }
  }
}

// B without the columns before `c`, with those of a panel copied to room for dim x kPanel where rows that far apart
// would crowd the first-level cache.
INLINE ProductOperands<float> panel_at(ProductOperands<float> p, int32_t c, float* room) {
  p.b += c;
  if (p.b_stride % kCrowdedStride != 0) return p;
  for (int64_t d = 0; d < p.dim; ++d) std::copy_n(p.b + d * p.b_stride, kPanel, room + d * kPanel);
  p.b = room;
  p.b_stride = kPanel;
  return p;
}
