#pragma once
#include <cstdint>

#include "fovea/kernels/attend_args.h"

namespace fovea::kernels {

/// One transposed tile of the backward, keys as rows; all of one stride, columns (queries) a multiple of 16.
struct GradientTile {
  float* scores;                                // becomes the weights P^T
  float* grad;                                  // dP^T, becomes dS^T
  const float* slopes;                          // d(score functor) / ds; null: 1
  float* results;                               // receives d(loss) / d(score functor); may be null
  void *weights_bf16, *grad_bf16, *grad_pairs;  // the products' operands where they are bfloat16
  int64_t stride;
  int32_t rows, columns;
  float factor;  // takes the scores to units of log2
};

struct GradientKernels {
  /// P^T = 2^(factor s - lse), lse in units of log2 (columns); +inf hides a query.
  void (*weights)(const GradientTile&, const float* lse);
  /// dS^T = P^T (dP^T - delta) slope, delta (columns); 0 where the weight is 0, whatever dP is. With bfloat16
  /// operands `rows` is even: two rows are written beside each other into grad_pairs.
  void (*scores)(const GradientTile&, const float* delta);
};

/// For the active instruction set; operands of type f32, or bf16 where has_bf16_products().
GradientKernels gradient_kernels(Type type);

/// The same of a sigmoid: P^T = 1 / (1 + 2^(lse - factor s)), lse = -bias, and dS^T = P^T (1 - P^T) dP^T
/// slope.
GradientKernels sigmoid_gradient_kernels(Type type);

}  // namespace fovea::kernels
