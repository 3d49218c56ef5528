#pragma once
#include <cstdint>

#include "fovea/kernels/attend_args.h"

// Random features of rows x: powers h_r = w_r . x - norm |x|^2, and their exponentials. All float32. Rows are
// the tasks of threads; deterministic, whatever their number. exp(x) errs by 2e-7 of itself and is 0 below
// -87.3. Source: Choromanski et al. 2021, Rethinking attention with Performers, 2.3, Lemma 1.

namespace fovea::kernels {

/// All at least 1.
struct ExponentialSizes {
  int64_t batch, heads, rows, dim, features;
};

struct QueryExponentialArgs {
  ExponentialSizes n;
  Operand x;
  /// w, (dim, features up to a multiple of 16), contiguous, 0 behind features.
  const float* directions;
  Output out;
};

/// out_r = exp(w_r . x - max_s w_s . x). O(B H N R D) time, in one pass. Throws std::bad_alloc.
void query_exponentials(const QueryExponentialArgs& args);

struct FeaturePowerArgs {
  ExponentialSizes n;
  Operand x;
  const float* directions;
  float norm;
  Output out;
  /// (B, H, N) contiguous: the largest of each row; rows that hold NaN may have any.
  float* largest;
};

/// out = h. Otherwise as query_exponentials().
void feature_powers(const FeaturePowerArgs& args);

/// powers = exp(powers - by), `by` (B, H) contiguous.
void exponentiate(const ExponentialSizes& n, const Output& powers, const float* by);

struct ExponentialGradientArgs {
  ExponentialSizes n;
  Operand x, features, grad;
  /// w, (features, dim up to a multiple of 16), contiguous, 0 behind dim.
  const float* directions;
  float norm;
  Output grad_x;
};

/// Of features = exp(h - c) for c that have no gradient: grad_x = sum_r (grad_r features_r) (w_r - 2 norm x).
/// Otherwise as query_exponentials().
void exponential_gradients(const ExponentialGradientArgs& args);

}  // namespace fovea::kernels
