#pragma once
#include <algorithm>
#include <cstdint>

#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/constants.h"

namespace fovea::kernels {

/// The state of an online softmax, one value a row, in units of log2. Of a sigmoid `maximum` is -bias, and
/// nothing changes.
struct SoftmaxState {
  float* maximum;
  float* sum;
  float* rescale;  // what the row's earlier weights must be multiplied with
};

/// Of rows that have seen no key, but a first score where that is not -inf; in units of log2.
inline void begin_rows(const SoftmaxState& state, int64_t rows, float first) {
  std::fill_n(state.maximum, rows, first);
  std::fill_n(state.sum, rows, first == -kInfinity ? 0.0f : 1.0f);
  std::fill_n(state.rescale, rows, 1.0f);
}

/// What a sink is to each row of a head: its first score, in units of log2; -inf where there is none.
inline float sink_score(const Normaliser& normaliser, int64_t head) {
  return normaliser.sinks ? normaliser.sinks[head] * kLog2E : -kInfinity;
}

/// A score times the factor less its maximum is rounded once, by fused instructions: of a maximum up to this
/// size what its own rounding left out is less than 1. Beyond, the product must be rounded by itself first.
inline constexpr float kLargestFused = 1 << 24;

/// One tile of scores (rows x columns, columns a multiple of 16); factor > 0 takes them to units of log2.
struct SoftmaxTile {
  float* scores;
  void* weights;
  int64_t stride;
  int32_t rows, columns;
  float factor;
};

struct SoftmaxKernels {
  /// weights = 2^(factor s - maximum), in float in place or in bfloat16 into `weights`; updates the state.
  void (*rows)(const SoftmaxTile&, const SoftmaxState&);
  /// o (rows x columns, stride) *= scale of its row.
  void (*rescale)(float* o, int64_t stride, int32_t rows, int32_t columns, const float* scale);
};

/// For the active instruction set; weights of type f32, or bf16 where has_bf16_products().
SoftmaxKernels softmax_kernels(Type type);

/// The same of a sigmoid: weights = 1 / (1 + 2^(maximum - factor s)).
SoftmaxKernels sigmoid_kernels(Type type);

}  // namespace fovea::kernels
