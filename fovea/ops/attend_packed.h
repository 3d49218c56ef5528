#pragma once
#include "fovea/ops/attend.h"

namespace fovea {

/// Attention within sequences that stand behind each other, without padding: sequence s has the queries
/// query_offsets[s] ... query_offsets[s + 1] - 1, and keys likewise.
/// q (Nsum, H, D), k (Msum, Hkv, D), v (Msum, Hkv, Dv) -> (Nsum, H, Dv); offsets (S + 1), integers from 0 to
/// the sum. Positions, causal alignment and windows count from the start of each sequence; functors see batch
/// 0. Equals attend() of each sequence by itself, gradients too; dropout differs from sequence to sequence.
/// Throws Error (usage) as attend(), on offsets that do not ascend from 0 to the sum, and on options with an
/// entry for each pair or batch entry: bias, mask, blocks, segments, key_lengths, weights, lse.
/// O(sum of N_s M_s (D + Dv)) time a head.
at::Tensor attend_packed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const at::Tensor& query_offsets, const at::Tensor& key_offsets,
                         const AttendOptions& options = {});

}  // namespace fovea
