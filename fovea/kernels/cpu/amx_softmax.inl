// Of avx512 with AMX, see each_isa.inl.
#if FOVEA_LANES == 16
#include "fovea/kernels/cpu/amx_tiles.inl"
#include "fovea/kernels/cpu/exp2.inl"
#include "fovea/kernels/cpu/fold.inl"

using Products = ScoreProducts<c10::BFloat16>;
using Block = WeightBlock<c10::BFloat16>;

namespace {

// 32 keys of some queries on their way from scores to weights.
struct SoftmaxCorner {
  const float* scores;  // kCorner apart
  const float* reference;
  F* sums;  // a vector a row
  c10::BFloat16* weights;
  int64_t stride;
  float factor;
  int32_t rows;

  FOVEA_TARGET void weigh(int32_t begin, int32_t end) const {
    for (int32_t r = begin; r < end; ++r) {
      const float* row = scores + r * kCorner;
      const F left = exp2_or_huge<true>(weight_power(load(row, F{}), factor, reference[r])),
              right = exp2_or_huge<true>(weight_power(load(row + FOVEA_LANES, F{}), factor, reference[r]));
      sums[r] = sums[r] + (left + right);
      const __m512bh both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(right.x), _mm512_loadu_ps(left.x));
      _mm512_storeu_si512(weights + r * stride, (__m512i)both);
    }
  }
  FOVEA_TARGET void operator()(int32_t i, int32_t parts) const {
    weigh(rows * i / parts, rows * (i + 1) / parts);
  }
};

struct NoWork {
  void operator()(int32_t, int32_t) const {}
};

}  // namespace

// Keys from `inside` on weigh nothing.
INLINE void hide_padding(float* scores, int32_t rows, int32_t inside) {
  for (int32_t r = 0; r < rows && inside < kCorner; ++r) {
    std::fill(scores + r * kCorner + inside, scores + (r + 1) * kCorner, -kInfinity);
  }
}

INLINE float maximum_of(const float* row) {
  return largest_of(max(load(row, F{}), load(row + FOVEA_LANES, F{})));
}

// kTiles x 16 rows.
template <int kTiles>
INLINE bool softmax_row_tiles(const Products& p, const Block& to, float* references, float* sums) {
  constexpr int32_t rows = kTiles * kTileRows;
  alignas(64) float scores[2][rows * kCorner];
  F row_sums[rows];
  std::fill_n(row_sums, rows, broadcast(0.0f, F{}));
  auto operands = p.operands;
  SoftmaxCorner corner = {scores[0], references, row_sums, to.weights, to.stride, p.factor, rows};
  multiply<kTiles, 2>(operands, NoWork{});
  store_products<kTiles, 2>(scores[0]);
  hide_padding(scores[0], rows, to.inside);
  for (int32_t r = 0; r < rows; ++r) {
    if (references[r] == -kInfinity) references[r] = maximum_of(scores[0] + r * kCorner) * p.factor;
  }
  for (int32_t c = kCorner, next = 1; c < to.columns; c += kCorner, next ^= 1) {
    operands.b += 2 * kCorner;
    multiply<kTiles, 2>(operands, corner);
    store_products<kTiles, 2>(scores[next]);
    hide_padding(scores[next], rows, to.inside - c);
    corner.scores = scores[next];
    corner.weights += kCorner;
  }
  corner.weigh(0, rows);
  bool fits = true;
  for (int32_t r = 0; r < rows; ++r) {
    sums[r] = sum_of(row_sums[r]);
    fits &= fits_reference(references[r]) && fits_sum(sums[r]);
  }
  return fits;
}

INLINE bool softmax_rows(Products p, Block to, float* references, float* sums) {
  bool fits = true;
  int32_t r = 0;
  for (; r + kTileRows < to.rows && fits; r += 2 * kTileRows) {
    fits = softmax_row_tiles<2>(p, to, references + r, sums + r);
    p.operands.a += 2 * kTileRows * p.operands.a_stride;
    to.weights += 2 * kTileRows * to.stride;
  }
  return fits && (r == to.rows || softmax_row_tiles<1>(p, to, references + r, sums + r));
}

KERNEL bool softmax(const Products& products, const Block& to, const SoftmaxState& state) {
  float references[kMostOnePassRows], sums[kMostOnePassRows];
  std::copy_n(state.maximum, to.rows, references);
  const TileConfig before = use_whole_tiles();
  const bool fits = softmax_rows(products, to, references, sums);
  _tile_loadconfig(&before);
  if (!fits) return false;
  std::copy_n(references, to.rows, state.maximum);
  for (int32_t r = 0; r < to.rows; ++r) state.sum[r] += sums[r];
  return true;
}
#endif
