#pragma once
#include <ATen/ATen.h>

#include <cmath>

#include "tests/nn/proofs/proof.h"

// Parts of formulas, pair by pair in float64.

namespace fovea::proofs {

/// q_i . k_j, (B, H, N, M)
inline at::Tensor dots(const Operands& o) { return (o.q.unsqueeze(3) * o.k.unsqueeze(2)).sum(-1); }

inline at::Tensor scaled_dots(const Operands& o) {
  return dots(o) / std::sqrt(static_cast<double>(o.q.size(3)));
}

/// |q_i - k_j|^2
inline at::Tensor squared_distances(const Operands& o) {
  return (o.q.unsqueeze(3) - o.k.unsqueeze(2)).square().sum(-1);
}

inline at::Tensor weighted(const at::Tensor& weights, const at::Tensor& v) {
  return (weights.unsqueeze(4) * v.unsqueeze(2)).sum(3);
}

/// exp(s_ij) / (extra + sum_j exp(s_ij)) over what is allowed, 0 where nothing is.
inline at::Tensor exponential_weights(const at::Tensor& scores, const at::Tensor& allowed,
                                      const at::Tensor& extra = at::zeros({1, 1}, at::kDouble)) {
  const at::Tensor e = at::where(allowed, scores, at::zeros_like(scores)).exp() * allowed;
  const at::Tensor sum = e.sum(-1, true) + extra.unsqueeze(-1);
  return e / at::where(sum > 0, sum, at::ones_like(sum));
}

inline at::Tensor softmax_over(const at::Tensor& scores, const at::Tensor& allowed, const at::Tensor& v) {
  return weighted(exponential_weights(scores, allowed), v);
}

/// max(z - tau, 0)^power with the tau at which they sum to 1, found by halving; z -inf where hidden. Then
/// exactly, with gradients, from what is above it.
inline at::Tensor thresholded(const at::Tensor& scores, const at::Tensor& allowed, int power) {
  const at::Tensor z = at::where(allowed, power == 1 ? scores : scores / 2, at::full_like(scores, -1e9)),
                   sees = allowed.expand_as(scores).any(-1, true);
  at::Tensor high = z.detach().amax(-1, true), low = high - 1;
  for (int step = 0; step < 80; ++step) {
    const at::Tensor middle = (low + high) / 2;
    const at::Tensor enough = (z.detach() - middle).clamp_min(0).pow(power).sum(-1, true) >= 1;
    low = at::where(enough, middle, low);
    high = at::where(enough, high, middle);
  }
  const at::Tensor support = (z.detach() > low) & sees, part = at::where(support, z, at::zeros_like(z));
  const at::Tensor count = support.sum(-1, true).clamp_min(1), sum = part.sum(-1, true);
  // sum (z - tau) = 1, or k tau^2 - 2 tau sum z + sum z^2 = 1.
  const at::Tensor tau =
      power == 1
          ? (sum - 1) / count
          : (sum - (sum.square() - count * (part.square().sum(-1, true) - 1)).clamp_min(1e-300).sqrt()) /
                count;
  return at::where(support, (z - tau).clamp_min(0).pow(power), at::zeros_like(z));
}

}  // namespace fovea::proofs
