#include "fovea/nn/attention/head_gate.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rand_like.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/nn/attention/chosen_heads.h"

namespace fovea::nn {

void HeadGateOptions::check(const std::string& where) const {
  EngineOptions::check(where);
  if (gamma >= 0.0) {
    throw usage_error(where, "gamma must be below 0", shown(gamma), "No gate would close.");
  }
  constexpr double kShut = 1e4;
  if (std::abs(log_alpha) > kShut) {
    throw usage_error(where, "log_alpha must be -10000 ... 10000", shown(log_alpha),
                      "20 is open, and -20 is shut, but for one in 500 million.");
  }
}

HeadGateAttention::HeadGateAttention(AttentionKind kind, const AttentionShape& shape,
                                     const HeadGateOptions& options)
    : EngineAttention(std::move(kind), shape, options),
      beta_(options.beta),
      gamma_(options.gamma),
      zeta_(options.zeta),
      penalty_(options.penalty) {
  log_alpha = register_parameter("log_alpha", at::full({shape.heads}, options.log_alpha));
}

at::Tensor HeadGateAttention::gates() const {
  at::Tensor logits = log_alpha;
  if (is_training()) {
    // Neither 0 nor 1, whose logarithms are infinite.
    const at::Tensor u = at::rand_like(log_alpha.detach()).clamp(1e-6, 1.0 - 1e-6);
    logits = (u.log() - (1.0 - u).log() + log_alpha) / beta_;
  }
  return (at::sigmoid(logits) * (zeta_ - gamma_) + gamma_).clamp(0.0, 1.0);
}

at::Tensor HeadGateAttention::l0_penalty() const {
  return at::sigmoid(log_alpha - beta_ * std::log(-gamma_ / zeta_)).sum();
}

AttentionOutput HeadGateAttention::run(const AttentionInput& input) {
  if (penalty_ && is_training()) owe(l0_penalty() * *penalty_);
  const at::Tensor gates = this->gates().to(input.q.scalar_type());
  const AttentionCall& call = input.call;
  const bool all = call.weights || call.packed || asks_anything(call.observe) || input.q.is_meta();
  const at::Tensor open = all ? at::Tensor() : (gates.detach() > 0).nonzero().flatten();
  if (!all && open.size(0) < shape().heads) return run_open(input, gates, open);
  AttentionOutput result = EngineAttention::run(input);
  // Heads stand before the size, and before positions unless packed.
  result.out = result.out * (call.packed ? gates.view({-1, 1}) : gates.view({-1, 1, 1}));
  return result;
}

AttentionOutput HeadGateAttention::run_open(const AttentionInput& input, const at::Tensor& gates,
                                            const at::Tensor& open) {
  // Times the gates, so that a gradient finds its way, though it be 0.
  at::Tensor out = at::zeros({input.q.size(0), shape().heads, input.q.size(2), shape().value_dim},
                             input.q.options().requires_grad(false)) *
                   gates.view({-1, 1, 1});
  if (open.size(0) == 0) return {out, {}, {}};
  const at::Tensor heads = EngineAttention::run(chosen_heads(input, open)).out;
  return {out.index_copy(1, open, heads * gates.index_select(0, open).view({-1, 1, 1})), {}, {}};
}

// The mean of the heads, of which closed ones cost nothing.
AttentionCost HeadGateAttention::cost(int64_t n, int64_t m, int64_t d) const {
  AttentionCost cost = EngineAttention::cost(n, m, d);
  if (log_alpha.is_meta() || is_training()) return cost;
  cost.multiply_adds = cost.multiply_adds * (gates().detach() > 0).sum().item<int64_t>() / shape().heads;
  return cost;
}

AttentionEntry head_gate_attention() {
  return attention_entry<HeadGateAttention>(
      {"head_gate", "out_h = g_h softmax_h, g_h = clamp(sigmoid(log_alpha_h) (zeta - gamma) + gamma, 0, 1)",
       "Louizos et al. 2018, L0 regularization, 2.2; Voita et al. 2019, section 6",
       "O(N M D) time of each open head, O(N + M) memory", "decode, fused"},
      {}, HeadGateOptions{});
}

}  // namespace fovea::nn
