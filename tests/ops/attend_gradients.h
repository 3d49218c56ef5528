#pragma once
#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <variant>
#include <vector>

#include "fovea/ops/attend.h"
#include "tests/ops/attend_cases.h"
#include "tests/ops/expect_attend.h"

// Gradients of attend(), and how their errors are measured.

namespace fovea::test {

/// Of q, k, v, then of what else the call learns: bias, slopes, table, keys, sink.
using Gradients = std::vector<at::Tensor>;

inline Operands learned(const Operands& t) {
  return {t.q.detach().requires_grad_(), t.k.detach().requires_grad_(), t.v.detach().requires_grad_()};
}

inline Operands in_double(const Operands& t) {
  return {t.q.to(at::kDouble), t.k.to(at::kDouble), t.v.to(at::kDouble)};
}

/// A result, and its gradients.
struct Evaluated {
  at::Tensor out;
  Gradients gradients;
};

template <class Run>
Evaluated evaluate(const Run& run, const Operands& given, const at::Tensor& grad_out, AttendOptions options) {
  const Operands t = learned(given);
  std::vector<at::Tensor> inputs = {t.q, t.k, t.v};
  for (auto* other : learnable(options)) {
    *other = other->detach().requires_grad_();
    inputs.push_back(*other);
  }
  const at::Tensor out = run(t.q, t.k, t.v, options).out;
  return {out.detach(), torch::autograd::grad({out}, inputs, {grad_out})};
}

/// By the definition in float64, from the same rounded operands.
inline Evaluated evaluate_exactly(const Operands& t, const at::Tensor& grad_out,
                                  const AttendOptions& options) {
  return evaluate(attend, in_double(t), grad_out.to(at::kDouble), in_double(options));
}

/// Each gradient is a sum of terms: for v of w_ij g_i, g the gradient of the output; for the others of
/// w_ij (g_i.v_j) x_ij and, but for sigmoids, p_ij w_im (g_i.v_m) x_ij for each key m, with w the weights
/// after dropout, p those before it and x scale k_j for q, scale q_i for k, 1 for a bias and a table, |i - j|
/// for slopes, scale q_i for relative keys; of a Gaussian also q_i for q and k_j for k, by their squares.
/// Rounding each term by eps, independently, gives the sum an error of eps sqrt(sum of the terms' squares),
/// also where the terms cancel, as those of a query with one key do. g_i.v_j is such a sum itself: its square
/// is that or the sum of its products' squares, the larger. These sums of squares, for each gradient.
class GradientTerms {
 public:
  GradientTerms(const Operands& given, const at::Tensor& grad_out, const AttendOptions& options)
      : t_(in_double(given)), grad_out_(grad_out.to(at::kDouble)), options_(in_double(options)) {
    AttendOptions wanted = options_;
    wanted.weights = true;
    const AttendResult whole = attend(t_.q, t_.k, t_.v, wanted);
    at::Tensor kept = whole.weights;
    if (options_.dropout_p > 0.0) {
      wanted.dropout_p = 0.0;
      kept = attend(t_.q, t_.k, t_.v, wanted).weights;
    }
    const at::Tensor v = t_.v.repeat_interleave(t_.q.size(1) / t_.v.size(1), 1);
    output_sizes_ = at::matmul(whole.weights, v.abs());
    weights_ = whole.weights.square();
    squares_ = weights_ * at::maximum(at::matmul(grad_out_, v.transpose(2, 3)).square(),
                                      at::matmul(grad_out_.square(), v.square().transpose(2, 3)));
    by_output_ = squares_.sum(-1, true);
    if (!std::holds_alternative<Sigmoid>(options_.normaliser))
      squares_ = squares_ + kept.square() * by_output_;
  }

  /// The sizes of the output's sums: sum_j w_ij |v_j|.
  const at::Tensor& output_sizes() const { return output_sizes_; }

  std::vector<at::Tensor> squares() {
    const at::Tensor k = t_.k.repeat_interleave(t_.q.size(1) / t_.k.size(1), 1).square(), q = t_.q.square();
    at::Tensor of_q = at::matmul(squares_, k), of_k = at::matmul(squares_.transpose(2, 3), q);
    if (std::holds_alternative<Gaussian>(options_.similarity)) {
      of_q = of_q + squares_.sum(-1, true) * q;
      of_k = of_k + squares_.sum(-2).unsqueeze(-1) * k;
    }
    std::vector<at::Tensor> all = {of_q * squared_scale(), by_key_head(of_k * squared_scale()),
                                   by_key_head(at::matmul(weights_.transpose(2, 3), grad_out_.square()))};
    for (const auto* other : learnable(options_)) all.push_back(squares_of(other));
    return all;
  }

 private:
  at::Tensor by_key_head(const at::Tensor& x) const {
    const int64_t heads = t_.k.size(1);
    return x.view({x.size(0), heads, x.size(1) / heads, x.size(2), x.size(3)}).sum(2);
  }

  at::Tensor distances() const {
    return at::arange(squares_.size(3)).unsqueeze(0) - at::arange(squares_.size(2)).unsqueeze(1);
  }

  // Broadcastable to (B, H, ., .).
  at::Tensor squared_scale() const {
    const auto dim = static_cast<double>(t_.q.size(3)), scale = options_.scale.value_or(1.0 / std::sqrt(dim));
    const auto* gaussian = std::get_if<Gaussian>(&options_.similarity);
    if (!gaussian) return at::full({1, 1, 1, 1}, scale * scale, at::kDouble);
    if (const auto* width = std::get_if<double>(&gaussian->width)) {
      return at::full({1, 1, 1, 1}, std::pow(*width, -4), at::kDouble);
    }
    return std::get<at::Tensor>(gaussian->width).to(at::kDouble).pow(-4).view({1, -1, 1, 1});
  }

  at::Tensor squares_of(const at::Tensor* other) const {
    const auto is = [other](const std::optional<at::Tensor>& t) { return t && other == &*t; };
    if (is(options_.bias)) return at::sum_to(squares_, options_.bias->sizes());
    if (is(options_.alibi_slopes)) return at::sum_to(of_slopes(), options_.alibi_slopes->sizes());
    if (is(options_.relative_table)) return of_table();
    if (is(options_.relative_keys)) return of_keys();
    return of_sink();
  }

  at::Tensor of_slopes() const { return (squares_ * distances().square()).sum(at::IntArrayRef{2, 3}); }

  at::Tensor of_table() const {
    const int64_t reach = options_.relative_table->size(1) / 2;
    const at::Tensor entry = (distances().clamp(-reach, reach) + reach).flatten();
    const at::Tensor sums = at::zeros({squares_.size(1), 2 * reach + 1}, at::kDouble)
                                .index_add(1, entry, squares_.sum(0).flatten(1));
    return at::sum_to(sums, options_.relative_table->sizes());
  }

  at::Tensor of_keys() const {
    const int64_t dim = t_.q.size(3), reach = options_.relative_keys->size(1) / 2;
    const at::Tensor entry = (distances().clamp(-reach, reach) + reach).flatten(),
                     terms = (squares_.unsqueeze(-1) * t_.q.square().unsqueeze(3)).sum(0).flatten(1, 2);
    const at::Tensor sums =
        at::zeros({squares_.size(1), 2 * reach + 1, dim}, at::kDouble).index_add(1, entry, terms);
    return at::sum_to(sums, options_.relative_keys->sizes()) * squared_scale().item<double>();
  }

  // A sink's weight times w_im (g_i.v_m) of each query.
  at::Tensor of_sink() const {
    AttendOptions options = options_;
    options.lse = true;
    const at::Tensor sink = *std::get<SoftmaxSink>(options.normaliser).scores,
                     lse = attend(t_.q, t_.k, t_.v, options).lse;
    return ((sink.unsqueeze(1) - lse).exp().square() * by_output_.squeeze(3)).sum(at::IntArrayRef{0, 2});
  }

  Operands t_;
  at::Tensor grad_out_;
  AttendOptions options_;
  at::Tensor output_sizes_;
  at::Tensor weights_, by_output_, squares_;  // all squared
};

/// |got - exact| / max(|exact|, |sizes of the terms' sums|) in the norm; `squares` are those of
/// GradientTerms.
inline double gradient_error(const at::Tensor& got, const at::Tensor& exact, const at::Tensor& squares) {
  if (exact.numel() == 0) return 0.0;
  const double smallest = smallest_normal(got.scalar_type()) * std::sqrt(static_cast<double>(exact.numel()));
  const double size = std::max(exact.norm().item<double>(), std::sqrt(squares.sum().item<double>()));
  return (got.to(at::kDouble) - exact).norm().item<double>() / std::max(size, smallest);
}

/// float32: scores are sums of up to 256 products, weights and gradients sums of such, each to sqrt(256)
/// 2^-24. Rounding errs by u at most, 2^-11 (float16) or 2^-8 (bfloat16) of a number, and by 0.39 u in the
/// mean square of many. float16 rounds the result. bfloat16 rounds weights, their gradients and the result,
/// which gives 0.39 sqrt(3) u = 2.6e-3 for sums over many, and up to 1.5 u was left for few.
inline double gradient_tolerance(at::ScalarType type, int64_t length) {
  if (type == at::kFloat) return 3e-6;
  if (type == at::kHalf) return length >= 64 ? 3.5e-4 : 0x1p-11 + 3e-6;
  return length >= 512 ? 2.6e-3 : 3 * 0x1p-9;
}

/// `of_scores`: what errors of the scores add to those of the weights.
inline void expect_right_gradients(const Gradients& got, const Gradients& exact,
                                   const std::vector<at::Tensor>& squares, const AttendCase& c,
                                   double of_scores) {
  const double tolerance = gradient_tolerance(c.type, std::min(c.queries, c.keys)) + of_scores;
  ASSERT_EQ(got.size(), exact.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].sizes(), exact[i].sizes());
    if (i < 3) {
      ASSERT_EQ(got[i].scalar_type(), c.type);
    }
    ASSERT_LE(gradient_error(got[i], exact[i], squares[i]), tolerance)
        << c.name() << " gradient of q, k, v, then bias, slopes, table, keys, sink: number " << i;
  }
}

inline void expect_right_gradients(const Gradients& got, const Gradients& exact,
                                   const std::vector<at::Tensor>& squares, const AttendCase& c) {
  expect_right_gradients(got, exact, squares, c, score_error(c));
}

}  // namespace fovea::test
