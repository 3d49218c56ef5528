#pragma once
#include <cstdint>

#include "fovea/kernels/attend_args.h"

namespace fovea::kernels {

/// Query i sees keys j <= i + shift. heads is a multiple of kv_heads; features and value_dim are at least 1.
struct LinearSizes {
  int64_t batch, heads, kv_heads, queries, keys, features, value_dim, shift;
};

/// What stands in the place of q_i and k_j: they themselves, or elu(x) + 1 of each number, see
/// elu_features().
enum class LinearFeatures { given, elu };

struct LinearForwardArgs {
  LinearSizes n;
  LinearFeatures features;
  /// Queries, keys and values; float32.
  Operand q, k, v;
  Output out;
  /// 1 / sum_j a_ij, 0 where there is nothing to divide: (B, H, N) contiguous. Null: nothing is divided.
  float* reciprocals;
};

/// out_i = sum_j a_ij v_j / sum_j a_ij over the keys that i sees, a_ij = q_i . k_j; 0 where the sum is below
/// 1e8 times the least normal number. By chunks of positions: sums over all keys before, and the pairs of the
/// chunk. Heads of keys are the tasks of threads. Deterministic, whatever their number. What is not finite in
/// a chunk reaches all its queries. O(B H (N + M) R Dv) time, O(R Dv) memory a thread. Throws
/// std::bad_alloc.   Source: Katharopoulos et al. 2020, Transformers are RNNs, 3.3; chunks: Hua et al. 2022,
/// Transformer quality in linear time, 3.3.
void linear_forward(const LinearForwardArgs& args);

struct LinearBackwardArgs {
  LinearSizes n;
  LinearFeatures features;
  Operand q, k, v, out, grad_out;
  /// As linear_forward() made them; null where it divided nothing.
  const float* reciprocals;
  Output grad_q, grad_k, grad_v;
};

/// Gradients of linear_forward(): chunks forwards for those of q, backwards for those of k and v. Otherwise
/// as that.   Source: Katharopoulos et al. 2020, 3.3.1.
void linear_backward(const LinearBackwardArgs& args);

struct EluArgs {
  int64_t batch, heads, rows, dim;
  /// float32
  Operand x;
  Output out;
};

/// out = exp(x) where x <= 0, x + 1 elsewhere: the features of linear attention. exp(x) errs by 2e-7 of
/// itself and is 0 below -87.3. In one pass.
void elu_features(const EluArgs& args);

}  // namespace fovea::kernels
