#include "fovea/ops/attend_sdpa.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/masked_fill.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <limits>
#include <variant>

#include "fovea/ops/attend_similarity.h"
#include "fovea/ops/call_functors.h"
#include "fovea/ops/finite.h"

namespace fovea {
namespace {

// The function has a word for it, without a tensor.
bool is_causal_alone(const AttendOptions& options) {
  return options.causal == CausalAlignment::top_left && !hides_keys(options) && !adds_biases(options);
}

// (B|1, H|1, N, M), with neighbouring numbers, as kernels want them.
at::Tensor of_pairs(const at::Tensor& t, const at::Tensor& q, const at::Tensor& k) {
  return t.expand({t.size(0), t.size(1), q.size(2), k.size(2)}).contiguous();
}

// What is added to the scores, in their type.
at::Tensor biases(const FunctorList& steps, const TensorAt& at, const AttendOptions& options,
                  const at::Tensor& q) {
  at::Tensor sum = at::zeros({1, 1, 1, 1}, q.options().requires_grad(false));
  if (!adds_biases(options)) return sum;
  for (const auto& step : steps) sum = step->score(sum, at);
  return sum;
}

}  // namespace

std::optional<std::string_view> why_not_sdpa(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                             const AttendOptions& options) {
  if (q.is_cpu()) return "the tensors are on the CPU";
  // In 2.11 it calls what has no shape function in C++.
  if (q.is_meta()) return "the tensors are without numbers";
  return why_not_in_sdpa(q, k, v, options);
}

std::optional<std::string_view> why_not_in_sdpa(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                                const AttendOptions& options) {
  if (q.layout() != at::kStrided) return "the tensors are not plain tensors";
  if (q.numel() == 0 || k.numel() == 0 || v.numel() == 0) return "a tensor is empty";
  if (std::holds_alternative<Gaussian>(options.similarity)) return "the score is Gaussian";
  if (options.functors) return "it takes no functors";
  if (options.softcap) return "it has no soft cap";
  if (options.dropout_p > 0.0) return "its dropout has another generator";
  if (options.weights) return "the weights are asked for";
  if (options.lse) return "the log-sum-exp is asked for";
  if (!std::holds_alternative<Softmax>(options.normaliser)) return "the normaliser is not softmax";
  const bool half = q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf;
  if (half && adds_biases(options)) return "it would add biases in a half type";
  if (!hides_keys(options) && options.causal == CausalAlignment::none) return std::nullopt;
  if (!all_finite({q, k, v})) return "it lets hidden NaN and infinity through";
  return std::nullopt;
}

AttendResult attend_sdpa(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const AttendOptions& options) {
  // Autocast would round what the definition does not.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const auto run = [&](const std::optional<at::Tensor>& mask, bool causal) {
    return at::scaled_dot_product_attention(q, k, v, mask, /*dropout_p=*/0.0, causal,
                                            product_scale(q, options),
                                            /*enable_gqa=*/q.size(1) != k.size(1));
  };
  if (is_causal_alone(options)) return {run(std::nullopt, true), {}, {}};
  const FunctorList steps = call_functors(q, k, options, Tiles::none);
  if (steps.empty()) return {run(std::nullopt, false), {}, {}};
  const TensorAt at = positions_of(q, {q.size(0), q.size(1), q.size(2), k.size(2)});
  const at::Tensor added = biases(steps, at, options, q), allowed = allowed_pairs(steps, at);
  if (!allowed.defined()) return {run(of_pairs(added, q, k), false), {}, {}};
  // A row without any key, NaN with some kernels, sees all of them and is then set to 0.
  const at::Tensor hidden = allowed.bitwise_not(), empty = hidden.all(-1, /*keepdim=*/true);
  const at::Tensor mask =
      at::masked_fill(added, hidden & empty.bitwise_not(), -std::numeric_limits<double>::infinity());
  return {run(of_pairs(mask, q, k), false).masked_fill(empty, 0.0), {}, {}};
}

}  // namespace fovea
