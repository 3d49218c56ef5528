#pragma once
#include <cmath>
#include <cstdint>

#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/one_pass.h"
#include "fovea/kernels/cpu/softmax_rows.h"

namespace fovea::kernels {

/// Products of queries and keys; `factor` takes them to units of log2.
template <class C>
struct ScoreProducts {
  ProductOperands<C> operands;
  float factor;
};

/// Weights (rows x columns, `stride` apart): rows an even number up to 256, a multiple of 16 of bfloat16;
/// columns of 16, or 32. Keys from `inside` on are padding, of weight 0.
template <class C>
struct WeightBlock {
  C* weights;
  int64_t stride;
  int32_t rows, columns, inside;
};

/// The most rows of a block.
inline constexpr int32_t kMostOnePassRows = 256;

/// Sums of a row's weights of a block of keys are at most this: their products with values below 2^97 / M,
/// and sums of them, do not overflow.
inline constexpr float kLargestWeightSum = 1 << 30;

/// What has been found of a row serves: a NaN is its own, and stays, as does what a reference of +inf gives.
/// One of -inf is none.
inline bool fits_reference(float reference) {
  return reference == kInfinity || !(std::abs(reference) > kLargestFused);
}
inline bool fits_sum(float sum) { return !(sum > kLargestWeightSum); }

/// The products and softmax_kernels().rows of them in one pass. The reference of a row is its maximum of
/// before, or, where there is none, that of its first keys, so that nothing is read twice. Where scores lie
/// so far above it that sums grow too large, returns false and leaves the state as it was. Where
/// has_one_pass().
bool softmax_in_one_pass(const ScoreProducts<float>& products, const WeightBlock<float>& to,
                         const SoftmaxState& state);
bool softmax_in_one_pass(const ScoreProducts<c10::BFloat16>& products, const WeightBlock<c10::BFloat16>& to,
                         const SoftmaxState& state);

}  // namespace fovea::kernels
