#pragma once
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "tests/ops/expect_scores.h"

// Cosine and Gaussian scores by their formulas, and what rounding does to them.

namespace fovea::test {

/// Sums of a few hundred products, each to a few 2^-24; half types round results and operands, see
/// docs/attend.md.
inline double similarity_tolerance(at::ScalarType type) {
  if (type == at::kFloat) return 1e-5;
  return type == at::kHalf ? 1.5e-3 : 1.2e-2;
}

/// Heads of `t` as often as `like` has them.
inline at::Tensor repeated(const at::Tensor& t, const at::Tensor& like) {
  return t.repeat_interleave(like.size(1) / t.size(1), 1);
}

inline at::Tensor each_head(const at::Tensor& numbers) { return numbers.view({1, -1, 1, 1}); }

inline at::Tensor cosines(const at::Tensor& q, const at::Tensor& k) {
  return at::cosine_similarity(q.unsqueeze(3), repeated(k, q).unsqueeze(2), -1, 1e-12);
}

/// -|q - k|^2 / 2
inline at::Tensor half_squares(const at::Tensor& q, const at::Tensor& k) {
  return (q.unsqueeze(3) - repeated(k, q).unsqueeze(2)).square().sum(-1) * -0.5;
}

/// What rounding does to the gradient of the widths, for such random weights as expect_same() draws. It sums
/// t_ij = dS_ij |q_i - k_j|^2 / width^3 over all pairs, which cancel: rounding each by eps gives an error of
/// eps sqrt(sum t_ij^2). dS comes from scores that are rounded too, their two parts each to 2^-24 of itself a
/// few times, and |k_j|^2 / 2 width^2 alike for all queries: the gradient errs by that times its derivative
/// with respect to the scores.
inline double width_rounding(const Tensors& qkv, const at::Tensor& widths, const at::Tensor& seen) {
  constexpr double kFloat = 32 * 0x1p-24;
  const Tensors t = in_double(qkv);
  const at::Tensor width = each_head(widths.to(at::kDouble)), k = repeated(t[1], t[0]);
  const at::Tensor halves = half_squares(t[0], t[1]),
                   scores = (halves / width.square()).detach().requires_grad_();
  const at::Tensor out = softmax_times(scores, t[2], seen);
  const at::Tensor slopes =
      torch::autograd::grad({out}, {scores}, {at::randn_like(out)}, {}, /*create_graph=*/true)[0];
  const at::Tensor terms = slopes * halves * 2 / width.pow(3);
  const at::Tensor by_score =
      torch::autograd::grad({terms.sum(at::IntArrayRef{0, 2, 3}).norm()}, {scores})[0];
  const at::Tensor of_keys = k.square().sum(-1).unsqueeze(2) / (2 * width.square()),
                   of_pairs = at::matmul(t[0].abs(), k.abs().transpose(2, 3)) / width.square() + of_keys;
  const double by_pairs = (by_score * of_pairs).norm().item<double>(),
               by_keys = (by_score.sum(2, true) * of_keys).norm().item<double>(),
               eps = qkv[0].scalar_type() == at::kFloat ? kFloat : similarity_tolerance(qkv[0].scalar_type());
  return std::hypot(kFloat * by_pairs, kFloat * by_keys, eps * terms.detach().norm().item<double>());
}

}  // namespace fovea::test
