#pragma once
#include <cstdint>

#include "fovea/kernels/attend_args.h"

namespace fovea::kernels {

/// In `attend`, dim is the hidden size E, heads = kv_heads, and the scale is 1.
struct AdditiveForwardArgs {
  ForwardArgs attend;
  /// (E) of a head, below 2^60; w_head = 0: one for all heads.
  const float* w;
  int64_t w_head;
};

/// out_i = sum_j softmax_j(mask(score(s_ij))) v_j, s_ij = sum_e w_e tanh(q_ie + k_je), tile by tile in
/// float32. A score errs by 1e-6 sum_e |w_e| at most, whatever q and k. Deterministic, whatever the number of
/// threads. A key that a query may not see has no influence on it, NaN and infinity included; a query that
/// sees none gives 0. O(B H N M (E + Dv)) time, O(B H M (E + Dv)) memory. Throws std::bad_alloc.   Source:
/// Bahdanau et al. 2015, A.1.2; "additive" is Luong et al. 2015's concat score.
void additive_forward(const AdditiveForwardArgs& args);

struct AdditiveBackwardArgs {
  BackwardArgs attend;
  const float* w;
  int64_t w_head;
  /// As w: summed over batches, and over heads where they share one w.
  float* grad_w;
};

/// Gradients of additive_forward() by q, k, v and w; nothing else learns, and nothing is dropped. Scores and
/// their slopes are computed anew, tile by tile, transposed as in attend_backward(). Deterministic, whatever
/// the number of threads. O(B H N M (E + Dv)) time; a thread takes O(N (E + Dv)) memory, and a call with few
/// heads keeps at most 16 partial sums of grad_q. Throws std::bad_alloc.
void additive_backward(const AdditiveBackwardArgs& args);

}  // namespace fovea::kernels
