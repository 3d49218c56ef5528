#pragma once
#include <cstdint>

#include "fovea/kernels/cpu/one_pass.h"

namespace fovea::kernels {

/// What a transposed tile of the backward is made of: keys as rows, queries as columns.
template <class C>
struct GradientProducts {
  ProductOperands<C> scores, grad;  // K Q^T and V dO^T
  float factor;                     // > 0, takes the scores to units of log2
  const float *lse, *delta;         // of the columns; see GradientKernels
};

/// P^T and dS^T, and of bfloat16 also dS^T by pairs of rows, of one stride. Rows are an even number, columns
/// a multiple of 16, as rows are of bfloat16. Rows from `inside` on are padding, and become 0.
template <class C>
struct GradientBlock {
  C *weights, *grad, *grad_pairs;
  int64_t stride;
  int32_t rows, columns, inside;
};

/// The products and both of gradient_kernels() in one pass, as softmax_in_one_pass() of the forward. Where
/// has_one_pass() for the terms of both products.
void gradient_in_one_pass(const GradientProducts<float>& products, const GradientBlock<float>& to);
void gradient_in_one_pass(const GradientProducts<c10::BFloat16>& products,
                          const GradientBlock<c10::BFloat16>& to);

}  // namespace fovea::kernels
