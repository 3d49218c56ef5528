#include "fovea/nn/attention/performer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/nn/attention/random_features.h"
#include "fovea/ops/exponential_features.h"

namespace fovea::nn {
namespace {

// Of the authors' code: weights of the ReLU kernel would all be 0 where no feature is above 0.
constexpr double kLeastRelu = 1e-3;

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

double PerformerAttention::scale(const at::Tensor& x) {
  return std::pow(static_cast<double>(x.size(3)), -0.25);
}

at::Tensor PerformerAttention::relu_features(const at::Tensor& x) const {
  return at::relu(at::matmul(x, (projection_matrix.to(x.scalar_type()) * scale(x)).t())) + kLeastRelu;
}

// What is the same for all features of a query, its norm too, its sum of weights takes out again.
at::Tensor PerformerAttention::query_features(const at::Tensor& q) const {
  if (options_.kernel == FeatureKernel::relu) return relu_features(q);
  return query_exponentials(q, projection_matrix.to(q.scalar_type()), scale(q));
}

KeyFeatures PerformerAttention::key_features(const at::Tensor& k, const at::Tensor& hidden,
                                             const at::Tensor& log_scale) const {
  if (options_.kernel == FeatureKernel::relu) return {relu_features(k), {}};
  const KeyExponentials keys =
      key_exponentials(k, projection_matrix.to(k.scalar_type()), scale(k), hidden, log_scale);
  return {keys.features, keys.largest};
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
       .drops_weights = false,
       .observes = false,
       .takes_packed = false},
      PerformerOptions{});
}

}  // namespace fovea::nn
