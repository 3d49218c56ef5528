#include "fovea/nn/attention/performer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/relu.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/nn/attention/random_features.h"

namespace fovea::nn {
namespace {

// Of the authors' code: weights of the ReLU kernel would all be 0 where no feature is above 0.
constexpr double kLeastRelu = 1e-3;

// The largest finite number of each head of h (B, H, M, R), 0 where there is none: (B, H, 1, 1).
at::Tensor largest_finite(const at::Tensor& h) {
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  if (h.size(2) == 0) return h.new_zeros({h.size(0), h.size(1), 1, 1});
  const auto finite = [](const at::Tensor& t, double other) {
    return t.masked_fill(at::isfinite(t).bitwise_not(), other);
  };
  return finite(finite(h.amax(-1, true), kNone).amax(2, true), 0.0);
}

}  // namespace

void PerformerOptions::check(const std::string& where) const {
  constexpr int64_t kMost = 65536;
  if (features && *features > kMost) {
    throw usage_error(where, "features must be at most " + std::to_string(kMost), std::to_string(*features),
                      "So many cost more than all pairs do.");
  }
}

PerformerAttention::PerformerAttention(AttentionKind kind, const AttentionShape& shape,
                                       const PerformerOptions& options)
    : KernelMapAttention(std::move(kind), shape, options.causal), options_(options) {
  projection_matrix =
      register_buffer("projection_matrix", at::empty({features(shape.head_dim), shape.head_dim}, at::kFloat));
  redraw(static_cast<uint64_t>(options.seed));
}

void PerformerAttention::redraw(uint64_t seed) {
  const torch::NoGradGuard no_grad;
  if (projection_matrix.is_meta()) return;
  // Numbers of float32, so that the module's type then and now does not matter.
  projection_matrix.copy_(
      random_features(projection_matrix.size(0), projection_matrix.size(1), options_.orthogonal, seed)
          .to(at::kFloat));
}

int64_t PerformerAttention::features(int64_t d) const {
  const auto size = static_cast<double>(d);
  return options_.features.value_or(std::max<int64_t>(static_cast<int64_t>(size * std::log(size)), 1));
}

at::Tensor PerformerAttention::projected(const at::Tensor& x) const {
  const double scale = std::pow(static_cast<double>(x.size(3)), -0.25);
  return at::matmul(x, (projection_matrix.to(x.scalar_type()) * scale).t());
}

// What is the same for all features of a query, its norm too, its sum of weights takes out again.
at::Tensor PerformerAttention::query_features(const at::Tensor& q) const {
  at::Tensor h = projected(q);
  if (options_.kernel == FeatureKernel::relu) return at::relu(h) + kLeastRelu;
  return h.sub_(h.detach().amax(-1, true)).exp_();
}

KeyFeatures PerformerAttention::key_features(const at::Tensor& k, const at::Tensor& hidden,
                                             const at::Tensor& log_scale) const {
  at::Tensor h = projected(k);
  if (options_.kernel == FeatureKernel::relu) return {at::relu(h) + kLeastRelu, {}};
  h.sub_(k.square().sum(-1, true) * (0.5 / std::sqrt(static_cast<double>(k.size(3)))));
  if (hidden.defined()) h.masked_fill_(hidden, -std::numeric_limits<double>::infinity());
  at::Tensor largest = largest_finite(h.detach());
  if (log_scale.defined()) largest = at::maximum(largest, log_scale);
  return {h.sub_(largest).exp_(), largest};
}

AttentionEntry performer_attention() {
  return attention_entry<PerformerAttention>(
      {"performer",
       "as linear, phi(x)_r = exp(w_r . x / D^(1/4) - |x|^2 / (2 sqrt(D))) of random w: on average "
       "softmax's weights",
       "Choromanski et al. 2021, Rethinking attention with Performers, 2.3 and 2.4 (FAVOR+)",
       "O((N + M) R D) time, O((N + M) (R + D)) memory of R features, causal too; O(R D) a step of decoding",
       "fused, chunked"},
      {.takes_masks = false,
       .takes_biases = false,
       .takes_key_masks = true,
       .observes = false,
       .takes_packed = false},
      PerformerOptions{});
}

}  // namespace fovea::nn
