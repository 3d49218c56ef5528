// Mechanisms that differ by their score, by how scores become weights, or by who sees whom.
#include <ATen/ATen.h>

#include <algorithm>
#include <iterator>

#include "fovea/explain/pattern.h"
#include "fovea/nn/attention/registry.h"

using fovea::nn::parse_attention;

// 4 heads of 16.
const fovea::nn::AttentionShape kShape{.heads = 4, .kv_heads = 4, .head_dim = 16, .value_dim = 16};

fovea::nn::AttentionInput drawn_input(int64_t length = 100) {
  fovea::nn::AttentionInput input;
  input.q = at::randn({1, 4, length, 16});
  input.k = at::randn({1, 4, length, 16});
  input.v = at::randn({1, 4, length, 16});
  return input;
}

double largest_gap(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

bool softmax() {
  const auto input = drawn_input();
  auto attention = parse_attention("softmax:causal=true").build(kShape);
  const auto out = attention->forward(input).out;  // the first row sees itself alone
  return largest_gap(out.select(2, 0), input.v.select(2, 0)) < 1e-6;
}

bool dot() {
  auto input = drawn_input();
  const auto scaled = parse_attention("softmax").build(kShape)->forward(input).out;
  auto attention = parse_attention("dot").build(kShape);
  input.q = input.q / 4.0;  // sqrt(16): softmax attention again
  const auto out = attention->forward(input).out;
  return largest_gap(out, scaled) < 1e-5;
}

bool cosine() {
  auto input = drawn_input();
  auto attention = parse_attention("cosine:scale=10").build(kShape);
  const auto out = attention->forward(input).out;
  input.k = input.k * 100.0;  // lengths do not count
  const auto same = attention->forward(input).out;
  return largest_gap(out, same) < 1e-4;
}

bool additive() {
  const auto input = drawn_input();
  auto attention = parse_attention("additive").build(kShape);
  attention->forward(input).out.square().mean().backward();
  const auto gradient = attention->named_parameters()["w"].grad();  // (4, 16): a network of 16 units a head
  return gradient.sizes().equals({4, 16});
}

bool bilinear() {
  const auto input = drawn_input();
  auto attention = parse_attention("bilinear:rank=4").build(kShape);
  const auto out = attention->forward(input).out;
  const auto U = attention->named_parameters()["U"];  // (4, 16, 4); so is V, and W_h = U_h V_h^T
  return out.isfinite().all().item<bool>() && U.sizes().equals({4, 16, 4});
}

bool gaussian() {
  auto input = drawn_input();
  auto attention = parse_attention("gaussian:width=0.01,learned=false").build(kShape);
  input.q = input.k;                               // at the points that are known
  const auto out = attention->forward(input).out;  // what is known there
  return largest_gap(out, input.v) < 1e-5;
}

bool softmax_sink() {
  auto input = drawn_input();
  auto attention = parse_attention("softmax_sink").build(kShape);
  input.call.weights = true;
  const auto used = attention->forward(input).weights.sum(-1);  // below 1: the rest attends to nothing
  return used.max().item<double>() < 1.0;
}

bool sigmoid() {
  auto input = drawn_input();
  auto attention = parse_attention("sigmoid:sigmoid_bias=0").build(kShape);
  input.call.weights = true;
  const auto weights = attention->forward(input).weights;  // half of all that matches neither well nor badly
  return (weights.mean() - 0.5).abs().item<double>() < 0.05;
}

bool sparsemax() {
  auto input = drawn_input();
  auto attention = parse_attention("sparsemax").build(kShape);
  input.call.weights = true;
  const auto weights = attention->forward(input).weights;
  const auto seen = (weights > 0).sum(-1);  // most keys have the weight 0
  return seen.max().item<int64_t>() < 50 && largest_gap(weights.sum(-1), at::ones({1, 4, 100})) < 1e-5;
}

bool local() {
  const auto input = drawn_input();
  auto attention = parse_attention("local:window_left=32,window_right=0").build(kShape);
  const auto out = attention->forward(input).out;  // the 32 before each row, and itself
  return out.sizes().equals({1, 4, 100, 16});
}

bool local_p() {
  auto input = drawn_input();
  auto attention = parse_attention("local_p:window=8").build(kShape);
  input.k = at::randn({1, 4, 300, 16}), input.v = at::randn({1, 4, 300, 16});
  const auto out = attention->forward(input).out;  // of each query, 16 of the 300 keys, fewer at the ends
  return out.sizes().equals({1, 4, 100, 16});
}

bool longformer() {
  const auto input = drawn_input();
  auto attention = parse_attention("longformer:window=16,global=1").build(kShape);
  const auto cost = attention->cost(4096, 4096, 16).multiply_adds;
  const auto of_all = parse_attention("softmax").build(kShape)->cost(4096, 4096, 16).multiply_adds;
  return attention->forward(input).out.isfinite().all().item<bool>() && 100 * cost < of_all;
}

// An image of 32 columns, pixel by pixel.
bool sparse_strided() {
  const auto input = drawn_input(32 * 32);
  auto attention = parse_attention("sparse_strided:stride=32").build(kShape);
  const auto out = attention->forward(input).out;  // the pixels of a row before, and those above
  return out.isfinite().all().item<bool>();
}

bool sparse_fixed() {
  const auto input = drawn_input(512);
  auto attention = parse_attention("sparse_fixed:stride=128,summary=8").build(kShape);
  const auto out = attention->forward(input).out;
  return out.isfinite().all().item<bool>();
}

bool bigbird() {
  auto input = drawn_input(1024);
  auto attention = parse_attention("bigbird:block_size=32,random=2,seed=1").build(kShape);
  input.call.key_lengths = at::tensor({900});
  const auto out = attention->forward(input).out;
  return out.isfinite().all().item<bool>();
}

bool entmax_in_any_score() {
  const auto input = drawn_input();
  auto attention = parse_attention("cosine:normaliser=entmax15,window=20").build(kShape);
  const auto out = attention->forward(input).out;
  return out.isfinite().all().item<bool>();
}

bool picture() {
  const auto pattern = fovea::explain::mechanism_pattern("longformer:window=4,global=2");
  const fovea::io::Image image = fovea::explain::pattern_picture(pattern);  // io::write_png() writes it
  return image.height == 256;
}

int main() {
  at::manual_seed(0);
  const bool all[] = {softmax(),        dot(),          cosine(),       additive(),
                      bilinear(),       gaussian(),     softmax_sink(), sigmoid(),
                      sparsemax(),      local(),        local_p(),      longformer(),
                      sparse_strided(), sparse_fixed(), bigbird(),      entmax_in_any_score(),
                      picture()};
  return std::all_of(std::begin(all), std::end(all), [](bool one) { return one; }) ? 0 : 1;
}
