#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <variant>

#include "fovea/ops/attend.h"

// Similarities as the implementations of attend() compute them: a scaled dot product, and numbers by head,
// query and key. A cosine is that of normalised q and k, which attend() and its kin make before they choose,
// so that an implementation finds them in the place of q and k.

namespace fovea {

/// The tensor behind a similarity's numbers of each head; empty when there is none.
std::optional<at::Tensor> per_head_of(const AttendSimilarity& similarity);

/// The factor on the products of q and k: 1 where it differs by head, and of normalised operands.
double product_scale(const at::Tensor& q, const AttendOptions& options);

/// scale_h q / |q| and k / |k| in the types of q and k, norms and quotients in float32 at least.
/// Differentiable; a vector that is not finite passes no gradient.
struct Normalised {
  at::Tensor q, k;
};
Normalised normalised(const at::Tensor& q, const at::Tensor& k, const Cosine& cosine);

/// body(q, k) with the operands that the implementations take.
template <class Body>
auto with_operands(const at::Tensor& q, const at::Tensor& k, const AttendOptions& options, const Body& body) {
  const auto* cosine = std::get_if<Cosine>(&options.similarity);
  if (!cosine) return body(q, k);
  const Normalised operands = normalised(q, k, *cosine);
  return body(operands.q, operands.k);
}

/// What turns product_scale() q.k into the score -|q - k|^2 / (2 width_h^2):
/// factors_h s + queries_i + keys_j.
struct GaussianTerms {
  /// (H); undefined when the products are scaled already.
  at::Tensor factors;
  /// (B, H, N, 1); undefined when the weights do not depend on it.
  at::Tensor queries;
  /// (B, H, 1, M)
  at::Tensor keys;
};

/// Differentiable; a vector that is not finite passes no gradient.
GaussianTerms gaussian_terms(const at::Tensor& q, const at::Tensor& k, const AttendOptions& options);

/// Whether scores change what a similarity gives by more than adding to it.
bool reshapes_scores(const AttendOptions& options);

}  // namespace fovea
