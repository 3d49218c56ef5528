#include "fovea/ops/attend_similarity.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/alias.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/where.h>

#include <cmath>

#include "fovea/ops/attend_functors.h"
#include "fovea/ops/finite.h"
#include "fovea/ops/operands.h"

namespace fovea {
namespace {

// As torch's normalize.
constexpr double kSmallestNorm = 1e-12;

// of(rows), through which rows that are not finite pass no gradient: times a gradient of 0, as of a hidden
// key, theirs would be NaN.
template <class Function>
at::Tensor of_finite_rows(const at::Tensor& t, const Function& of) {
  const at::Tensor rows = widened(t);
  if (!at::GradMode::is_enabled() || !t.requires_grad() || all_finite(rows)) return of(rows);
  const at::Tensor spoilt = at::isfinite(rows).all(-1, /*keepdim=*/true).bitwise_not();
  return at::where(spoilt, of(rows.detach()), of(finite_part(rows)));
}

at::Tensor unit(const at::Tensor& t) {
  return of_finite_rows(t, [](const at::Tensor& rows) {
    return rows / at::linalg_vector_norm(rows, 2, {-1}, /*keepdim=*/true).clamp_min(kSmallestNorm);
  });
}

// (B, H, T, D) -> (B, H, T, 1)
at::Tensor squares(const at::Tensor& t) {
  return of_finite_rows(t, [](const at::Tensor& rows) { return rows.square().sum(-1, /*keepdim=*/true); });
}

at::Tensor by_head(const at::Tensor& numbers, const at::Tensor& like) {
  return numbers.to(like.scalar_type()).view({1, -1, 1, 1});
}

at::Tensor scaled(const at::Tensor& t, const PerHead& scale) {
  if (const double* number = std::get_if<double>(&scale)) return t * *number;
  return finite_product(t, by_head(std::get<at::Tensor>(scale), t));
}

// 1 / width^2 of a width that is one number.
double sharpness(double width) { return 1.0 / (width * width); }

}  // namespace

std::optional<at::Tensor> per_head_of(const AttendSimilarity& similarity) {
  const PerHead* numbers = nullptr;
  if (const auto* cosine = std::get_if<Cosine>(&similarity)) numbers = &cosine->scale;
  if (const auto* gaussian = std::get_if<Gaussian>(&similarity)) numbers = &gaussian->width;
  const auto* tensor = numbers ? std::get_if<at::Tensor>(numbers) : nullptr;
  return tensor ? std::optional(*tensor) : std::nullopt;
}

double product_scale(const at::Tensor& q, const AttendOptions& options) {
  if (std::holds_alternative<Cosine>(options.similarity)) return 1.0;
  if (const auto* gaussian = std::get_if<Gaussian>(&options.similarity)) {
    const double* width = std::get_if<double>(&gaussian->width);
    return width ? sharpness(*width) : 1.0;
  }
  return options.scale.value_or(1.0 / std::sqrt(static_cast<double>(q.size(3))));
}

Normalised normalised(const at::Tensor& q, const at::Tensor& k, const Cosine& cosine) {
  return {scaled(unit(q), cosine.scale).to(q.scalar_type()), unit(k).to(k.scalar_type())};
}

bool reshapes_scores(const AttendOptions& options) {
  if (options.softcap) return true;
  if (!options.functors) return false;
  const TileProgram program = options.functors->program();
  return program.plain.score && !program.only_adds;
}

GaussianTerms gaussian_terms(const at::Tensor& q, const at::Tensor& k, const AttendOptions& options) {
  const auto& width = std::get<Gaussian>(options.similarity).width;
  const auto* widths = std::get_if<at::Tensor>(&width);
  const at::Tensor factors =
      widths ? widths->to(widened(q).scalar_type()).square().reciprocal() : at::Tensor();
  const auto term = [&](const at::Tensor& t) {
    const at::Tensor sums = with_heads(squares(t), q.size(1)) * -0.5;
    return widths ? finite_product(sums, by_head(factors, sums)) : sums * sharpness(std::get<double>(width));
  };
  GaussianTerms terms;
  terms.keys = term(k).transpose(2, 3);
  // What is the same for all keys of a query changes no softmax.
  const bool plain = std::holds_alternative<Softmax>(options.normaliser) && !options.lse;
  if (!plain || reshapes_scores(options)) terms.queries = term(q);
  // A tensor of its own, so that its gradient is that of the products alone.
  if (widths) terms.factors = at::alias(factors);
  return terms;
}

}  // namespace fovea
