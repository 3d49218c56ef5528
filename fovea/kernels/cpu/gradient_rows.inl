// The rows of one instruction set; see each_isa.inl.

#include "fovea/kernels/cpu/exp2.inl"

typedef uint16_t Shorts __attribute__((vector_size(2 * FOVEA_LANES), aligned(2), may_alias));

// The bits of the nearest bfloat16, ties to even, in the upper half of each lane; NaN stays NaN.
INLINE simd::Ints<FOVEA_LANES> bf16_bits(F a) {
  const NI bits = *reinterpret_cast<const NI*>(a.x);
  const NI nan = (bits & 0x7fffffff) > 0x7f800000;
  const NI nearest = bits + 0x7fff + ((bits >> 16) & 1);
  simd::Ints<FOVEA_LANES> r;
  *reinterpret_cast<NI*>(r.x) = (nan ? (NI{} + 0x7fc00000) : nearest) & static_cast<int32_t>(0xffff0000);
  return r;
}

INLINE void store_bf16(uint16_t* to, simd::Ints<FOVEA_LANES> bits) {
  const NI low = (*reinterpret_cast<const NI*>(bits.x) >> 16) & 0xffff;
  *reinterpret_cast<Shorts*>(to) = __builtin_convertvector(low, Shorts);
}

// Beside each other: the even row's number in the lower half, the odd row's in the upper.
INLINE void store_pairs(uint16_t* to, simd::Ints<FOVEA_LANES> even, simd::Ints<FOVEA_LANES> odd) {
  const NI low = (*reinterpret_cast<const NI*>(even.x) >> 16) & 0xffff;
  *reinterpret_cast<NI*>(to) = low | *reinterpret_cast<const NI*>(odd.x);
}

// A query that sees no key has no weights, even where a key is NaN. The polynomial is the exact one for bfloat16
// too: its error would not average out of the gradients.
template <bool Narrow, bool kSigmoid>
KERNEL void weight_rows(const GradientTile& t, const float* lse) {
  const F zero = broadcast(0.0f, F{});
  for (int32_t r = 0; r < t.rows; ++r) {
    float* row = t.scores + r * t.stride;
    for (int32_t c = 0; c < t.columns; c += FOVEA_LANES) {
      const F sum = load(lse + c, F{});
      const F score = load(row + c, F{}) * t.factor - sum;
      const F raw = kSigmoid ? sigmoid2<false>(score) : exp2_negative<false>(score);
      const F weight = select(sum < std::numeric_limits<float>::infinity(), raw, zero);
      store(row + c, weight);
      if constexpr (Narrow) store_bf16(static_cast<uint16_t*>(t.weights_bf16) + r * t.stride + c, bf16_bits(weight));
    }
  }
}

template <bool kSigmoid>
INLINE F score_gradient(const GradientTile& t, const float* delta, int64_t at, int32_t c) {
  const F weight = load(t.scores + at, F{}), by_weight = load(t.grad + at, F{}), zero = broadcast(0.0f, F{});
  const F raw = kSigmoid ? weight * (1.0f - weight) * by_weight : weight * (by_weight - load(delta + c, F{}));
  const F grad = select(weight == zero, zero, raw);
  if (t.results) store(t.results + at, grad);
  return t.slopes ? select(weight == zero, zero, grad * load(t.slopes + at, F{})) : grad;
}

template <bool Narrow, bool kSigmoid>
KERNEL void score_rows(const GradientTile& t, const float* delta) {
  for (int32_t r = 0; r < t.rows; r += Narrow ? 2 : 1) {
    for (int32_t c = 0; c < t.columns; c += FOVEA_LANES) {
      const int64_t at = r * t.stride + c;
      const F grad = score_gradient<kSigmoid>(t, delta, at, c);
      if constexpr (Narrow) {
        const auto even = bf16_bits(grad), odd = bf16_bits(score_gradient<kSigmoid>(t, delta, at + t.stride, c));
        store_bf16(static_cast<uint16_t*>(t.grad_bf16) + at, even);
        store_bf16(static_cast<uint16_t*>(t.grad_bf16) + at + t.stride, odd);
        store_pairs(static_cast<uint16_t*>(t.grad_pairs) + r * t.stride + 2 * c, even, odd);
      } else {
        store(t.grad + at, grad);
      }
    }
  }
}

template <bool kSigmoid>
static GradientKernels kernels(Type type) {
  if (type == Type::bf16) return {weight_rows<true, kSigmoid>, score_rows<true, kSigmoid>};
  return {weight_rows<false, kSigmoid>, score_rows<false, kSigmoid>};
}
