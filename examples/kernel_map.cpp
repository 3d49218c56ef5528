// Mechanisms whose weights are products of features: linear in the length, and step by step.
#include <ATen/ATen.h>

#include <cstdio>
#include <memory>

#include "fovea/nn/attention/performer.h"
#include "fovea/nn/attention/registry.h"

namespace {

double largest_gap(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

// A sequence at once, and the same one position at a time.
bool decodes() {
  const at::Tensor q = at::randn({1, 8, 100, 32}), k = at::randn({1, 8, 100, 32}),
                   v = at::randn({1, 8, 100, 32});
  auto attention = fovea::nn::parse_attention("linear:causal=true")
                       .build({.heads = 8, .kv_heads = 8, .head_dim = 32, .value_dim = 32, .width = 0});
  fovea::nn::AttentionInput input;
  input.q = q, input.k = k, input.v = v;
  const at::Tensor whole = attention->forward(input).out;

  auto& linear = dynamic_cast<fovea::nn::KernelMapAttention&>(*attention);
  fovea::nn::LinearState state;  // all that is kept of what came before
  for (int64_t t = 0; t < 100; ++t) {
    const at::Tensor out = linear.step(q.narrow(2, t, 1), k.narrow(2, t, 1), v.narrow(2, t, 1), state);
    if (largest_gap(out, whole.narrow(2, t, 1)) > 1e-4) return false;
  }
  return true;
}

// Softmax attention estimated, by other features after each draw.
bool estimates() {
  fovea::nn::AttentionInput input;
  input.q = at::randn({1, 2, 500, 16}), input.k = at::randn({1, 2, 500, 16}),
  input.v = at::randn({1, 2, 500, 16});
  const auto exact = fovea::nn::parse_attention("softmax").build({2, 2, 16, 16})->forward(input).out;
  auto attention = fovea::nn::parse_attention("performer:features=256").build({2, 2, 16, 16});
  auto& performer = dynamic_cast<fovea::nn::PerformerAttention&>(*attention);
  performer.redraw(/*seed=*/7);
  const at::Tensor estimate = attention->forward(input).out;
  std::printf("largest difference from softmax %.3f\n", largest_gap(estimate, exact));
  return estimate.sizes().equals(exact.sizes());
}

// Two softmaxes, of which padding has no part.
bool mixes_maps() {
  const auto attention = fovea::nn::parse_attention("efficient").build({2, 2, 16, 16});
  fovea::nn::AttentionInput input;
  input.q = input.k = input.v = at::randn({2, 2, 64 * 64, 16});
  input.call.key_lengths = at::tensor({4096, 3000});
  return attention->forward(input).out.sizes().equals({2, 2, 4096, 16});
}

}  // namespace

int main() {
  at::manual_seed(0);
  const bool all[] = {decodes(), estimates(), mixes_maps()};
  return all[0] && all[1] && all[2] ? 0 : 1;
}
