// Of one instruction set; see each_isa.inl.
#include "fovea/kernels/cpu/exp2.inl"
#include "fovea/kernels/cpu/fma_block.inl"
#include "fovea/kernels/cpu/fold.inl"

// Some rows and a panel of keys, of which the first `inside` are no padding.
struct WeightPanel {
  ProductOperands<float> operands;
  float factor;
  float *references, *sums, *weights;  // sums: a vector a row
  int64_t stride;
  int32_t inside;
};

INLINE void skip_rows(WeightPanel& panel, int32_t rows) {
  panel.operands.a += rows * panel.operands.a_stride;
  panel.references += rows;
  panel.sums += rows * FOVEA_LANES;
  panel.weights += rows * panel.stride;
}

// Keys that are padding weigh nothing. Of the vector `c` of a panel.
INLINE NF hide_padding(NF scores, const WeightPanel& panel, int32_t c) {
  NI lane;
  for (int32_t l = 0; l < FOVEA_LANES; ++l) lane[l] = c * FOVEA_LANES + l;
  return lane < panel.inside ? scores : NF{} - kInfinity;
}

template <int kVectors>
INLINE float maximum_of(const NF (&row)[kVectors]) {
  F largest = to_floats(row[0]);
#pragma GCC unroll 4
  for (int c = 1; c < kVectors; ++c) largest = max(to_floats(row[c]), largest);
  return largest_of(largest);
}

template <int kRows, int kVectors, bool kPadded>
INLINE void weigh_block(const WeightPanel& panel) {
  NF scores[kRows][kVectors];
  multiply(panel.operands, scores);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kVectors; ++c) {
      if constexpr (kPadded) scores[r][c] = hide_padding(scores[r][c], panel, c);
    }
    float& reference = panel.references[r];
    if (reference == -kInfinity) reference = maximum_of(scores[r]) * panel.factor;
    F sum = load(panel.sums + r * FOVEA_LANES, F{});
#pragma GCC unroll 4
    for (int c = 0; c < kVectors; ++c) {
      const F weight = exp2_or_huge<false>(weight_power(to_floats(scores[r][c]), panel.factor, reference));
      sum = sum + weight;
      store(panel.weights + r * panel.stride + c * FOVEA_LANES, weight);
    }
    store(panel.sums + r * FOVEA_LANES, sum);
  }
}

template <int kVectors, bool kPadded>
INLINE void weigh_rows(WeightPanel panel, int32_t rows) {
  for (; rows >= kBlockRows; rows -= kBlockRows) {
    weigh_block<kBlockRows, kVectors, kPadded>(panel);
    skip_rows(panel, kBlockRows);
  }
  if (rows >= 4) {
    weigh_block<4, kVectors, kPadded>(panel);
    skip_rows(panel, 4);
    rows -= 4;
  }
  if (rows >= 2) weigh_block<2, kVectors, kPadded>(panel);
}

INLINE void weigh_panel(const WeightPanel& panel, int32_t rows, int32_t columns) {
  if (columns >= kPanel && panel.inside >= kPanel) return weigh_rows<kPanelVectors, false>(panel, rows);
  switch (std::min(columns, kPanel) / FOVEA_LANES) {
    case 4:
      if constexpr (kPanelVectors == 4) weigh_rows<4, true>(panel, rows);
      return;
    case 3:
      if constexpr (kPanelVectors == 4) weigh_rows<3, true>(panel, rows);
      return;
    case 2:
      return weigh_rows<2, true>(panel, rows);
    default:
      return weigh_rows<1, true>(panel, rows);
  }
}

KERNEL bool softmax(const ScoreProducts<float>& products, const WeightBlock<float>& to, const SoftmaxState& state) {
  alignas(64) float references[kMostOnePassRows], sums[kMostOnePassRows * FOVEA_LANES], room[kWidestHead * kPanel];
  std::copy_n(state.maximum, to.rows, references);
  std::fill_n(sums, to.rows * FOVEA_LANES, 0.0f);
  for (int32_t c = 0; c < to.columns; c += kPanel) {
    const WeightPanel panel = {panel_at(products.operands, c, room), products.factor, references, sums,
                               to.weights + c, to.stride, to.inside - c};
    weigh_panel(panel, to.rows, to.columns - c);
    if (c == 0 && !std::all_of(references, references + to.rows, fits_reference)) return false;
  }
  float total[kMostOnePassRows];
  bool fits = true;
  for (int32_t r = 0; r < to.rows; ++r) {
    total[r] = sum_of(load(sums + r * FOVEA_LANES, F{}));
    fits &= fits_sum(total[r]);
  }
  if (!fits) return false;
  std::copy_n(references, to.rows, state.maximum);
  for (int32_t r = 0; r < to.rows; ++r) state.sum[r] += total[r];
  return true;
}
