#include "fovea/ops/attend_composed.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>

#include "fovea/ops/attend_dropout.h"
#include "fovea/ops/attend_normalisers.h"
#include "fovea/ops/attend_similarity.h"
#include "fovea/ops/finite.h"
#include "fovea/ops/operands.h"

namespace fovea {
namespace {

// Hidden scores that are not finite as 0: times a gradient of 0 a step's slope there would still be NaN.
at::Tensor hidden_finite(const at::Tensor& scores, const at::Tensor& allowed) {
  if (!allowed.defined() || all_finite(scores)) return scores;
  return scores.masked_fill(allowed.bitwise_not(), 0.0);
}

// A score of -inf hides like a mask.
at::Tensor without_minus_infinity(const at::Tensor& allowed, const at::Tensor& scores) {
  if (all_finite(scores)) return allowed;
  const at::Tensor seen = scores.detach() != -std::numeric_limits<double>::infinity();
  if (seen.all().item<bool>()) return allowed;
  return allowed.defined() ? allowed.bitwise_and(seen) : seen;
}

// What the values that are not finite add to those who may see them: infinity of one sign, or NaN.
at::Tensor spoilt_outputs(const at::Tensor& v, const at::Tensor& allowed, at::IntArrayRef scores) {
  const at::Tensor seen = allowed.expand(scores).to(v.scalar_type());
  const auto meets = [&](const at::Tensor& these) { return at::matmul(seen, these.to(v.scalar_type())) > 0; };
  const double infinity = std::numeric_limits<double>::infinity();
  const at::Tensor none = at::zeros({}, v.options().requires_grad(false));
  return none.masked_fill(meets(v == infinity), infinity) +
         none.masked_fill(meets(v == -infinity), -infinity) +
         none.masked_fill(meets(at::isnan(v)), std::numeric_limits<double>::quiet_NaN());
}

at::Tensor weighted_sum(const at::Tensor& weights, const at::Tensor& v, const at::Tensor& allowed) {
  if (!allowed.defined() || all_finite(v)) return at::matmul(weights, v);
  return at::matmul(weights, finite_part(v)) + spoilt_outputs(v.detach(), allowed, weights.sizes());
}

}  // namespace

AttendResult attend_scores(at::Tensor scores, const at::Tensor& v, const AttendOptions& options,
                           const FunctorList& functors) {
  const TensorAt at = positions_of(scores, scores.sizes());
  at::Tensor allowed = allowed_pairs(functors, at);
  const at::Tensor products = scores;
  scores = hidden_finite(scores, allowed);
  for (const auto& step : functors) {
    const at::Tensor result = step->score(scores, at);
    if (!result.is_same(scores)) scores = hidden_finite(result, allowed);
  }
  if (!scores.is_same(products)) allowed = without_minus_infinity(allowed, scores);
  at::Tensor weights = normalise(options.normaliser, scores, allowed);
  if (options.dropout_p > 0.0) weights = weights * dropout_factors(weights, dropout_of(options));
  const at::Tensor values = with_heads(widened(v), scores.size(1));
  const at::Tensor out = weighted_sum(weights, values, allowed).to(v.scalar_type());
  return {out, options.weights ? weights : at::Tensor(),
          options.lse ? log_sum_exp(options.normaliser, scores, allowed) : at::Tensor()};
}

AttendResult attend_composed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const AttendOptions& options) {
  return attend_composed(q, k, v, options, call_functors(q, k, options, Tiles::none));
}

AttendResult attend_composed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const AttendOptions& options, const FunctorList& functors) {
  // Autocast would round the widened q, k and the scores back to bfloat16.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const at::Tensor queries = widened(q) * product_scale(q, options), keys = with_heads(widened(k), q.size(1));
  return attend_scores(row_products(queries, keys), v, options, functors);
}

std::vector<at::Tensor> composed_gradients(const AttendResult& result, const std::vector<at::Tensor>& inputs,
                                           const OutputGradients& grads) {
  std::vector<at::Tensor> wanted, outputs = {result.out}, given = {grads.out};
  for (const auto& t : inputs) {
    if (t.defined() && t.requires_grad()) wanted.push_back(t);
  }
  if (grads.lse.defined()) {
    outputs.push_back(result.lse);
    given.push_back(grads.lse);
  }
  const auto gradients =
      torch::autograd::grad(outputs, wanted, given, /*retain_graph=*/true, /*create_graph=*/true);
  std::vector<at::Tensor> found(inputs.size());
  for (size_t i = 0, next = 0; i < inputs.size(); ++i) {
    if (inputs[i].defined() && inputs[i].requires_grad()) found[i] = gradients[next++];
  }
  return found;
}

}  // namespace fovea
