// Of avx512 with AMX, see each_isa.inl.
#if FOVEA_LANES == 16
#include "fovea/kernels/cpu/amx_tiles.inl"
#include "fovea/kernels/cpu/exp2.inl"

using Products = GradientProducts<c10::BFloat16>;
using Block = GradientBlock<c10::BFloat16>;

INLINE __m512 native(F x) { return _mm512_loadu_ps(x.x); }
INLINE F from_native(__m512 x) {
  F result;
  _mm512_storeu_ps(result.x, x);
  return result;
}

namespace {

// 32 queries (16 where there are no more) of some keys on their way to weights and gradients.
template <int kColumns>
struct GradientCorner {
  const float *scores, *by_weight;  // kCorner apart; the second is dP^T
  const float *lse, *delta;
  Block to;
  float factor;

  // A weight and the gradient of its score, as gradient_rows.inl has them.
  FOVEA_TARGET void one(int32_t r, int32_t c, F& weight, F& grad) const {
    const F sum = load(lse + c, F{});
    const F raw = exp2_negative<false>(weight_power(load(scores + r * kCorner + c, F{}), factor, sum));
    weight = select(sum < kInfinity, raw, broadcast(0.0f, F{}));
    const __mmask16 weighs = _mm512_cmp_ps_mask(native(weight), _mm512_setzero_ps(), _CMP_NEQ_UQ);
    const __m512 slope = _mm512_maskz_sub_ps(weighs, native(load(by_weight + r * kCorner + c, F{})),
                                             native(load(delta + c, F{})));
    grad = weight * from_native(slope);
  }

  FOVEA_TARGET static void store_row(c10::BFloat16* p, const F* row) {
    if constexpr (kColumns == 2) {
      _mm512_storeu_si512(p, (__m512i)_mm512_cvtne2ps_pbh(native(row[1]), native(row[0])));
    } else {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(native(row[0])));
    }
  }

  // Rows of pairs [begin, end).
  FOVEA_TARGET void weigh(int32_t begin, int32_t end) const {
    const __m512i interleaved = _mm512_load_si512(kInterleaved.lane);
    for (int32_t r = 2 * begin; r < 2 * end; r += 2) {
      F weights[2][kColumns], grads[2][kColumns];
      for (int32_t i = 0; i < 2; ++i) {
        for (int32_t c = 0; c < kColumns; ++c) one(r + i, c * FOVEA_LANES, weights[i][c], grads[i][c]);
        store_row(to.weights + (r + i) * to.stride, weights[i]);
        store_row(to.grad + (r + i) * to.stride, grads[i]);
      }
      for (int32_t c = 0; c < kColumns; ++c) {
        const __m512i rows = (__m512i)_mm512_cvtne2ps_pbh(native(grads[1][c]), native(grads[0][c]));
        _mm512_storeu_si512(to.grad_pairs + r * to.stride + 2 * c * FOVEA_LANES,
                            _mm512_permutexvar_epi16(interleaved, rows));
      }
    }
  }
};

// One half of a corner's rows, a part at a time; none of no corner.
struct HalfCorner {
  const GradientCorner<2>* corner;
  int32_t first, pairs;

  FOVEA_TARGET void operator()(int32_t i, int32_t parts) const {
    if (corner) corner->weigh(first + pairs * i / parts, first + pairs * (i + 1) / parts);
  }
};

}  // namespace

// The products of one corner, of whose rows some are padding, while those of `before`, if any, become weights and
// gradients.
template <int kRows, int kColumns>
INLINE void gradient_corner(const Products& p, int32_t inside, float* scores, float* by_weight,
                            const GradientCorner<2>* before) {
  constexpr int32_t rows = kRows * kTileRows, half = rows / 4;
  multiply<kRows, kColumns>(p.scores, HalfCorner{before, 0, half});
  store_products<kRows, kColumns>(scores);
  for (int32_t r = std::max(inside, 0); r < rows; ++r) {
    std::fill(scores + r * kCorner, scores + (r + 1) * kCorner, -kInfinity);
  }
  multiply<kRows, kColumns>(p.grad, HalfCorner{before, half, half});
  store_products<kRows, kColumns>(by_weight);
}

template <int kColumns>
INLINE GradientCorner<kColumns> corner_at(const Products& p, const Block& to, int32_t c,
                                          const float* scores, const float* by_weight) {
  Block here = to;
  here.weights += c;
  here.grad += c;
  here.grad_pairs += 2 * c;
  return {scores, by_weight, p.lse + c, p.delta + c, here, p.factor};
}

// kRows x 16 keys.
template <int kRows>
INLINE void gradient_row_tiles(const Products& products, const Block& to) {
  constexpr int32_t rows = kRows * kTileRows, pairs = rows / 2;
  alignas(64) float scores[2][rows * kCorner], by_weight[2][rows * kCorner];
  Products p = products;
  GradientCorner<2> corner;
  const GradientCorner<2>* before = nullptr;
  int32_t c = 0, next = 0;
  for (; c + kCorner <= to.columns; c += kCorner, next ^= 1) {
    gradient_corner<kRows, 2>(p, to.inside, scores[next], by_weight[next], before);
    corner = corner_at<2>(products, to, c, scores[next], by_weight[next]);
    before = &corner;
    p.scores.b += 2 * kCorner;
    p.grad.b += 2 * kCorner;
  }
  if (c < to.columns) {
    gradient_corner<kRows, 1>(p, to.inside, scores[next], by_weight[next], before);
    corner_at<1>(products, to, c, scores[next], by_weight[next]).weigh(0, pairs);
  } else {
    corner.weigh(0, pairs);
  }
}

KERNEL void gradient(Products p, Block to) {
  const TileConfig before = use_whole_tiles();
  for (int32_t r = 0; r < to.rows; r += 2 * kTileRows) {
    if (r + kTileRows < to.rows) {
      gradient_row_tiles<2>(p, to);
    } else {
      gradient_row_tiles<1>(p, to);
    }
    p.scores.a += 2 * kTileRows * p.scores.a_stride;
    p.grad.a += 2 * kTileRows * p.grad.a_stride;
    to.weights += 2 * kTileRows * to.stride;
    to.grad += 2 * kTileRows * to.stride;
    to.grad_pairs += 2 * kTileRows * to.stride;
    to.inside -= 2 * kTileRows;
  }
  _tile_loadconfig(&before);
}
#endif
