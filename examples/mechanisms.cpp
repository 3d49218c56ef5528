// Mechanisms by name: alone, in a transformer, and what they cost.
#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <memory>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/nn/attention/hard.h"
#include "fovea/nn/attention/hybrid.h"
#include "fovea/nn/attention/multi_scale_deformable.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/block/transformer.h"
#include "fovea/nn/layers.h"
#include "fovea/nn/reversible.h"

// Queries, keys and values in, their weighted sums out.
bool alone() {
  auto attention = fovea::nn::parse_attention("longformer:window=64,global=2")
                       .build({.heads = 8, .kv_heads = 8, .head_dim = 32, .value_dim = 32, .width = 0});
  fovea::nn::AttentionInput input;
  input.q = input.k = input.v = at::randn({1, 8, 1024, 32});
  input.call.causal = fovea::CausalAlignment::top_left;
  input.call.observe.entropy = true;
  const auto result = attention->forward(input);
  const auto cost = attention->cost(1024, 1024, 32);
  std::printf("%lld multiply-adds a head, mean entropy %.2f\n", static_cast<long long>(cost.multiply_adds),
              result.observed.entropy.mean().item<double>());
  return result.out.sizes().equals({1, 8, 1024, 32});
}

// A decoder whose rows see their neighbours, and the encoder's rows by additive scores.
bool in_a_transformer() {
  fovea::nn::TransformerOptions options;
  options.d_model = 64, options.nhead = 4, options.dim_feedforward = 128;
  options.attention = "local:window=8";
  options.cross_attention = "additive";
  fovea::nn::TransformerDecoder decoder(options, /*num_layers=*/2);
  const auto out = decoder->forward(at::randn({2, 20, 64}), at::randn({2, 30, 64}));
  return out.sizes().equals({2, 20, 64});
}

// Queries that read a few points of two maps.
bool on_maps() {
  const std::vector<fovea::MapShape> maps = {{32, 32}, {16, 16}};
  fovea::nn::MultiScaleDeformableAttention deformable(
      fovea::nn::MultiScaleDeformableOptions{.d_model = 64, .n_levels = 2, .n_heads = 8, .n_points = 4});
  const at::Tensor pyramid = at::randn({1, 32 * 32 + 16 * 16, 64}), reference = at::rand({1, 100, 2, 2});
  const at::Tensor found = deformable->forward(at::randn({1, 100, 64}), reference, pyramid, maps);
  return found.sizes().equals({1, 100, 64});
}

// Through 32 means of segments, of a padded batch.
bool through_landmarks() {
  auto attention = fovea::nn::parse_attention("nystrom:landmarks=32").build({4, 4, 16, 16});
  fovea::nn::AttentionInput input;
  input.q = input.k = input.v = at::randn({2, 4, 1000, 16});
  input.call.key_lengths = at::tensor({1000, 640});
  return attention->forward(input).out.sizes().equals({2, 4, 1000, 16});
}

// To 64 combinations of at most 1024 keys, which it learns.
bool to_combinations() {
  auto attention = fovea::nn::parse_attention("linformer:length=1024,rank=64").build({4, 4, 16, 16});
  fovea::nn::AttentionInput input;
  input.q = input.k = input.v = at::randn({2, 4, 1000, 16});
  attention->forward(input).out.square().mean().backward();
  return attention->named_parameters()["E"].grad().sizes().equals({1024, 64});
}

// To keys in the query's bucket, between layers that keep nothing for the backward.
bool hashed_and_reversible() {
  auto attention = fovea::nn::parse_attention("lsh:buckets=32,rounds=4,chunk=64").build({4, 4, 16, 16});
  const fovea::nn::ReversibleBranch hashed{[attention](const at::Tensor& x) {
                                             fovea::nn::AttentionInput input;
                                             input.q = input.k = input.v = x;
                                             input.call.causal = fovea::CausalAlignment::top_left;
                                             return attention->forward(input).out;
                                           },
                                           /*parameters=*/{},
                                           /*buffers=*/{}};
  const auto feed_forward = fovea::nn::reversible_branch(std::make_shared<fovea::nn::LinearImpl>(16, 16));
  const at::Tensor x = at::randn({1, 4, 1000, 16}).requires_grad_();
  const auto y = fovea::nn::reversible({{hashed, feed_forward}, {hashed, feed_forward}}, {x, x});
  (y.first + y.second).square().mean().backward();
  return x.grad().sizes().equals(x.sizes());
}

// To the blocks of keys that a coarse look found.
bool coarse_to_fine() {
  auto attention =
      fovea::nn::parse_attention("hybrid:block_size=64,query_block=64,chosen=8").build({4, 4, 16, 16});
  fovea::nn::AttentionInput input;
  input.q = input.k = input.v = at::randn({1, 4, 2000, 16});
  input.call.causal = fovea::CausalAlignment::top_left;
  const at::Tensor out = attention->forward(input).out;
  const at::Tensor chosen =
      dynamic_cast<fovea::nn::HybridAttention&>(*attention).chosen_blocks(input);  // (1, 4, 32, 32)
  return out.sizes().equals({1, 4, 2000, 16}) && chosen.sizes().equals({1, 4, 32, 32});
}

// One key a query, drawn, which learns from a reward.
bool drawn() {
  auto attention = std::dynamic_pointer_cast<fovea::nn::HardAttention>(
      fovea::nn::parse_attention("hard:estimator=reinforce").build({4, 4, 16, 16}));
  fovea::nn::AttentionInput input;
  input.q = at::randn({2, 4, 100, 16}).requires_grad_();
  input.k = input.v = at::randn({2, 4, 300, 16});
  const at::Tensor target = at::zeros({2, 4, 100, 16});
  const auto out = attention->forward(input).out;
  const auto reward = -(out - target).square().flatten(1).mean(1);  // (B)
  const auto loss = attention->loss_term(reward.detach());
  loss.backward();
  return input.q.grad().sizes().equals(input.q.sizes());
}

// What does not fit is refused before any work.
bool refused() {
  try {
    auto attention = fovea::nn::parse_attention("bigbird").build({4, 4, 16, 16});
    fovea::nn::AttentionInput input;
    input.q = at::randn({1, 4, 10, 16});
    input.k = input.v = at::randn({1, 4, 20, 16});
    attention->forward(input);
  } catch (const fovea::Error& error) {
    std::printf("%s\n", error.what());
    return true;
  }
  return false;
}

int main() {
  const bool all[] = {alone(),           in_a_transformer(),      on_maps(),        through_landmarks(),
                      to_combinations(), hashed_and_reversible(), coarse_to_fine(), drawn(),
                      refused()};
  return std::all_of(std::begin(all), std::end(all), [](bool one) { return one; }) ? 0 : 1;
}
