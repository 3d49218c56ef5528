// Mechanisms that learn what to forget, how far to look and which heads to run.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "fovea/nn/attention/adaptive_span.h"
#include "fovea/nn/attention/expire_memory.h"
#include "fovea/nn/attention/expire_span.h"
#include "fovea/nn/attention/head_gate.h"
#include "fovea/nn/attention/head_router.h"
#include "fovea/nn/attention/registry.h"

using fovea::nn::parse_attention;

// Of 8 heads of 16 over rows of 128.
const fovea::nn::AttentionShape kShape{
    .heads = 8, .kv_heads = 8, .head_dim = 16, .value_dim = 16, .width = 128};

fovea::nn::AttentionInput drawn_input() {
  fovea::nn::AttentionInput input;
  input.x = at::randn({1, 256, 128});
  input.q = input.k = input.v = input.x.unflatten(2, {8, 16}).transpose(1, 2);
  return input;
}

bool forgetting() {
  const auto input = drawn_input();
  auto attention = parse_attention("forgetting").build(kShape);
  const auto out = attention->forward(input).out;
  return out.sizes().equals({1, 8, 256, 16});
}

bool adaptive_span() {
  const auto input = drawn_input();
  auto attention = std::dynamic_pointer_cast<fovea::nn::AdaptiveSpanAttention>(
      parse_attention("adaptive_span:span=128,ramp=32,causal=true,penalty=0.1").build(kShape));
  const auto out = attention->forward(input).out;
  const auto loss = out.square().mean() + attention->take_penalty();  // of a network: nn::take_penalties()
  loss.backward();
  return attention->current_val.grad().defined();
}

bool token_span() {
  const auto input = drawn_input();
  auto attention = std::dynamic_pointer_cast<fovea::nn::SpanAttention>(
      parse_attention("token_span:span=128,ramp=16").build(kShape));
  const auto map = attention->spans(input.x);  // (1, 8, 256): how far each row looks
  const auto out = attention->forward(input).out;
  return map.sizes().equals({1, 8, 256}) && out.sizes().equals({1, 8, 256, 16});
}

bool expire_span() {
  const auto input = drawn_input();
  auto attention = std::dynamic_pointer_cast<fovea::nn::ExpireSpanAttention>(
      parse_attention("expire_span:span=100,ramp=8").build(kShape));
  const torch::NoGradGuard no_grad;
  const auto spans = attention->spans(input.x);
  fovea::nn::ExpireMemory memory(/*ramp=*/8);
  at::Tensor out;
  for (int64_t t = 0; t < 256; ++t) {
    memory.append(input.k.narrow(2, t, 1), input.v.narrow(2, t, 1), spans.narrow(2, t, 1));
    out = memory.attend(input.q.narrow(2, t, 1));
  }
  return memory.size() < 256 && out.sizes().equals({1, 8, 1, 16});
}

bool head_gate() {
  const auto input = drawn_input();
  auto attention =
      std::dynamic_pointer_cast<fovea::nn::HeadGateAttention>(parse_attention("head_gate").build(kShape));
  const auto loss = attention->forward(input).out.square().mean() + 0.01 * attention->l0_penalty();
  loss.backward();
  attention->eval();
  const auto open = (attention->gates() > 0).sum();
  return open.item<int64_t>() == 8;
}

bool head_router() {
  const auto input = drawn_input();
  auto attention = std::dynamic_pointer_cast<fovea::nn::HeadRouterAttention>(
      parse_attention("head_router:k=2").build(kShape));
  const auto loss = attention->forward(input).out.square().mean() + 0.01 * attention->balance_loss(input.x) +
                    0.001 * attention->z_loss(input.x);
  loss.backward();
  return attention->router->weight.grad().defined();
}

bool entmax() {
  const auto input = drawn_input();
  auto attention = parse_attention("entmax:learned=true,alpha=1.5").build(kShape);
  attention->forward(input).out.square().mean().backward();
  return attention->named_parameters()["pre_alpha"].grad().defined();
}

int main() {
  const bool all[] = {forgetting(), adaptive_span(), token_span(), expire_span(),
                      head_gate(),  head_router(),   entmax()};
  for (const bool right : all) {
    if (!right) return 1;
  }
  return 0;
}
