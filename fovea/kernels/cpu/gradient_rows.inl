// The rows of one instruction set; see each_isa.inl.

#include "fovea/kernels/cpu/exp2.inl"
#include "fovea/kernels/cpu/numbers.inl"

INLINE NI bf16_bits(F x) { return bf16_bits(*reinterpret_cast<const NF*>(x.x)); }

// A query that sees no key has no weights, even where a key is NaN. The polynomial is the exact one for bfloat16
// too: its error would not average out of the gradients.
template <bool Narrow, bool kSigmoid>
KERNEL void weight_rows(const GradientTile& t, const float* lse) {
  const F zero = broadcast(0.0f, F{});
  for (int32_t r = 0; r < t.rows; ++r) {
    float* row = t.scores + r * t.stride;
    for (int32_t c = 0; c < t.columns; c += FOVEA_LANES) {
      const F sum = load(lse + c, F{});
      const F score = weight_power(load(row + c, F{}), t.factor, sum);
      const F raw = kSigmoid ? sigmoid2<false>(score) : exp2_negative<false>(score);
      const F weight = select(sum < std::numeric_limits<float>::infinity(), raw, zero);
      store(row + c, weight);
      if constexpr (Narrow) {
        store_bits(static_cast<c10::BFloat16*>(t.weights_bf16) + r * t.stride + c, bf16_bits(weight));
      }
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
        auto *to = static_cast<c10::BFloat16*>(t.grad_bf16), *pairs = static_cast<c10::BFloat16*>(t.grad_pairs);
        const NI even = bf16_bits(grad), odd = bf16_bits(score_gradient<kSigmoid>(t, delta, at + t.stride, c));
        store_bits(to + at, even);
        store_bits(to + at + t.stride, odd);
        // Beside each other: the even row's number in the lower half, the odd row's in the upper.
        *reinterpret_cast<NI*>(pairs + r * t.stride + 2 * c) = ((even >> 16) & 0xffff) | odd;
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
