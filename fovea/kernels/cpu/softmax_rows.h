#pragma once
#include <cstdint>

#include "fovea/kernels/attend_args.h"

namespace fovea::kernels {

/// The state of an online softmax, one value a row, in units of log2. Of a sigmoid `maximum` is -bias, and
/// nothing changes.
struct SoftmaxState {
  float* maximum;
  float* sum;
  float* rescale;  // what the row's earlier weights must be multiplied with
};

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
