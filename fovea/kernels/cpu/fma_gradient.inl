// Of one instruction set; see each_isa.inl.
#include "fovea/kernels/cpu/exp2.inl"
#include "fovea/kernels/cpu/fma_block.inl"

// Some keys and a panel of queries.
struct GradientPanel {
  GradientProducts<float> products;
  float *weights, *grad;
  int64_t stride;
};

INLINE void skip_rows(GradientPanel& panel, int32_t rows) {
  panel.products.scores.a += rows * panel.products.scores.a_stride;
  panel.products.grad.a += rows * panel.products.grad.a_stride;
  panel.weights += rows * panel.stride;
  panel.grad += rows * panel.stride;
}

// A query that sees no key has no weights, even where a key is NaN.
template <int kRows, int kVectors>
INLINE void weigh(const GradientPanel& panel) {
  const auto& p = panel.products;
  NF scores[kRows][kVectors];
  multiply(p.scores, scores);
#pragma GCC unroll 4
  for (int c = 0; c < kVectors; ++c) {
    const F sum = load(p.lse + c * FOVEA_LANES, F{}), zero = broadcast(0.0f, F{});
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const F weight = exp2_negative<false>(weight_power(to_floats(scores[r][c]), p.factor, sum));
      store(panel.weights + r * panel.stride + c * FOVEA_LANES, select(sum < kInfinity, weight, zero));
    }
  }
}

template <int kRows, int kVectors>
INLINE void differentiate(const GradientPanel& panel) {
  const auto& p = panel.products;
  NF by_weight[kRows][kVectors];
  multiply(p.grad, by_weight);
#pragma GCC unroll 4
  for (int c = 0; c < kVectors; ++c) {
    const F delta = load(p.delta + c * FOVEA_LANES, F{}), zero = broadcast(0.0f, F{});
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const int64_t at = r * panel.stride + c * FOVEA_LANES;
      const F weight = load(panel.weights + at, F{}), grad = weight * (to_floats(by_weight[r][c]) - delta);
      store(panel.grad + at, select(weight == zero, zero, grad));
    }
  }
}

template <int kVectors>
INLINE void gradient_rows(GradientPanel panel, int32_t rows) {
  for (; rows >= kBlockRows; rows -= kBlockRows) {
    weigh<kBlockRows, kVectors>(panel);
    differentiate<kBlockRows, kVectors>(panel);
    skip_rows(panel, kBlockRows);
  }
  if (rows >= 4) {
    weigh<4, kVectors>(panel);
    differentiate<4, kVectors>(panel);
    skip_rows(panel, 4);
    rows -= 4;
  }
  if (rows >= 2) {
    weigh<2, kVectors>(panel);
    differentiate<2, kVectors>(panel);
  }
}

INLINE void gradient_panel(const GradientPanel& panel, int32_t rows, int32_t columns) {
  switch (std::min(columns, kPanel) / FOVEA_LANES) {
    case 4:
      if constexpr (kPanelVectors == 4) gradient_rows<4>(panel, rows);
      return;
    case 3:
      if constexpr (kPanelVectors == 4) gradient_rows<3>(panel, rows);
      return;
    case 2:
      return gradient_rows<2>(panel, rows);
    default:
      return gradient_rows<1>(panel, rows);
  }
}

KERNEL void gradient(const GradientProducts<float>& products, const GradientBlock<float>& to) {
  alignas(64) float score_room[kWidestHead * kPanel], grad_room[kWidestHead * kPanel];
  for (int32_t c = 0; c < to.columns; c += kPanel) {
    GradientPanel panel = {products, to.weights + c, to.grad + c, to.stride};
    panel.products.scores = panel_at(products.scores, c, score_room);
    panel.products.grad = panel_at(products.grad, c, grad_room);
    panel.products.lse += c;
    panel.products.delta += c;
    gradient_panel(panel, to.rows, to.columns - c);
  }
  std::fill(to.weights + to.inside * to.stride, to.weights + to.rows * to.stride, 0.0f);
  std::fill(to.grad + to.inside * to.stride, to.grad + to.rows * to.stride, 0.0f);
}
