#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fovea {

/// Sums over pairs in causal order, without a matrix of pairs.
///   u_i = sum over j <= floor(i / group) + shift of (q_i . k_j) v_j
/// q (P, N group, R), rows of a position behind each other, k (P, M, R), v (P, M, E) -> (P, N group, E), of
/// one type, float32 or float64. Positions go in chunks: a sum over all keys before a chunk, and the pairs of
/// the chunk itself. Differentiable; the backward walks the chunks again, forwards for q and backwards for k
/// and v, in the memory of its gradients. Gradients of gradients take all pairs.
/// Source: Hua et al. 2022, Transformer quality in linear time, 3.3; the sums' gradients: Katharopoulos et
/// al. 2020, Transformers are RNNs, 3.3.1.
at::Tensor chunked_causal_sums(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t group,
                               int64_t shift);

}  // namespace fovea
