// Position schemes: in a transformer, and around an attention by itself.
#include <ATen/ATen.h>

#include "fovea/nn/attention/registry.h"
#include "fovea/nn/block/transformer.h"
#include "fovea/nn/position/registry.h"

bool in_a_transformer() {
  fovea::nn::TransformerOptions options;
  options.d_model = 64, options.nhead = 4, options.dim_feedforward = 128;
  options.attention = "local:window=64";
  options.position = "rotary:base=500000";
  fovea::nn::TransformerEncoder encoder(options, /*num_layers=*/2);
  const auto out = encoder->forward(at::randn({2, 200, 64}));
  return out.sizes().equals({2, 200, 64});
}

bool alone() {
  const fovea::nn::AttentionShape shape = {
      .heads = 4, .kv_heads = 4, .head_dim = 16, .value_dim = 16, .width = 64};
  auto scheme = fovea::nn::parse_position("t5:num_buckets=16").build({shape, {}});
  auto attention = fovea::nn::parse_attention("dot").build(shape);
  fovea::nn::AttentionInput input;
  input.q = input.k = input.v = at::randn({2, 4, 100, 16});
  const auto result = scheme->attend(*attention, input);
  return result.out.sizes().equals({2, 4, 100, 16});
}

int main() { return in_a_transformer() && alone() ? 0 : 1; }
