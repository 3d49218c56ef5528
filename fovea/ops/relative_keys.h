#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fovea {

/// What relative keys add to the scores: result[b, h, i, j] = scale q[b, h, i] . table[h, R + clamp(j - i,
/// -R, R)]. q (B, H, N, D), table (H|1, 2 R + 1, D), `keys` = M -> (B, H, N, M), float32 of half types; a
/// view with neighbouring keys of numbers by distance, (B, H, N, N + M - 1), whose rows are read one number
/// shorter than they are. Differentiable.   O(B H N (R D + N + M)) time, O(B H N (R + N + M)) memory. Source:
/// Music Transformer (Huang et al. 2018), section 3.4.1, whose table has one key for each distance.
at::Tensor relative_key_scores(const at::Tensor& q, const at::Tensor& table, double scale, int64_t keys);

}  // namespace fovea
