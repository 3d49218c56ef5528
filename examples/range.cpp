// Mechanisms that learn what to forget, how far to look and which heads to run.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

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

int main() {
  const bool all[] = {forgetting()};
  for (const bool right : all) {
    if (!right) return 1;
  }
  return 0;
}
