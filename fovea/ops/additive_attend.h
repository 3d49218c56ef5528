#pragma once
#include <ATen/core/Tensor.h>

#include "fovea/ops/attend.h"

namespace fovea {

/// Additive attention: a score by a small network instead of a product.
///   out_i = sum_j softmax_j(mask(bias + score(s_ij))) v_j,   s_ij = sum_e w_e tanh(q_ie + k_je)
/// q (B, H, N, E) and k (B, H, M, E) are already projected to the hidden size E, the bias of that layer
/// included in one of them; v (B, H, M, Dv); w (H, E), or (E) for all heads; -> out (B, H, N, Dv). Options as
/// of attend(), but for `scale`, `similarity` and `relative_keys`, which must stay as they are. A query that
/// may see no key gives 0, with gradient 0; a key that a query may not see has no influence on it, NaN and
/// infinity included. Runs the first implementation that can. w may be wider than q, k and v. Throws
/// fovea::Error (usage) on shapes, types or options that do not fit. O(B H N M (E + Dv)) time; fused O(B H (N
/// + M) (E + Dv)) memory, otherwise O(B H N M E).   Source: Bahdanau et al. 2015, Neural machine translation
/// by jointly learning to align and translate, A.1.2; `concat` of Luong et al. 2015, 3.1.
AttendResult additive_attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const at::Tensor& w, const AttendOptions& options = {});

/// Which implementation additive_attend() runs, fused or composed, and why not those before it. Reported as
/// attend_choice() is.
AttendChoice additive_attend_choice(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const at::Tensor& w, const AttendOptions& options = {});

}  // namespace fovea
