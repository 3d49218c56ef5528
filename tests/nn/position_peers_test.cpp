#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>

#include "fovea/io/tensors.h"
#include "fovea/nn/attention/alibi.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/position/registry.h"
#include "fovea/nn/position/rotary.h"
#include "fovea/nn/position/t5.h"

// Position schemes beside transformers' and timm's, with their weights.

namespace fovea::nn {
namespace {

// One of scripts/parity_tests/position_golden.py.
const at::Tensor& peer_position(const std::string& key) {
  static const io::TensorMap all = io::load_tensors(FOVEA_TEST_DATA "/nn/position.safetensors");
  return all.at(key);
}

void expect_peer(const at::Tensor& found, const at::Tensor& expected, const std::string& what,
                 double within = 1e-12) {
  ASSERT_EQ(found.sizes(), expected.sizes()) << what;
  const double size = std::max(expected.abs().max().item<double>(), 1.0);
  EXPECT_LT((found - expected).abs().max().item<double>() / size, within) << what;
}

PositionShape peer_shape(int64_t heads, int64_t size, int64_t width) {
  return {{heads, heads, size, size, width}, {}};
}

PositionShape peer_grid(int64_t rows, int64_t columns, int64_t width, int64_t heads = 1) {
  return {{heads, heads, width, width, width}, GridPositions{rows, columns, 0}};
}

TEST(PositionPeers, RotaryOfTransformers) {
  const std::map<std::string, std::string> schemes = {
      {"default", "rotary"},
      {"linear", "rotary:scaling=linear,factor=4"},
      {"llama3", "rotary:scaling=llama3,base=500000,factor=8,original_length=8192"},
      {"yarn", "rotary:scaling=yarn,factor=16,original_length=4096"},
      {"interleaved", "rotary:layout=interleaved"}};
  for (const auto& [name, text] : schemes) {
    const auto scheme = parse_position(text).build(peer_shape(2, 64, 128));
    const auto& rotary = dynamic_cast<const RotaryPosition&>(*scheme);
    // Angles of 30000 are known to 2^-52 of it.
    expect_peer(rotary.turned(peer_position("rotary.x"), peer_position("rotary.positions")),
                peer_position("rotary." + name), name, 1e-10);
  }
}

TEST(PositionPeers, T5BiasOfTransformersToTheBit) {
  const at::NoGradGuard no_grad;
  for (const bool encoder : {true, false}) {
    const std::string name = encoder ? "t5.encoder" : "t5.decoder";
    const auto scheme = parse_position("t5").build(peer_shape(3, 4, 12));
    auto& t5 = dynamic_cast<T5Position&>(*scheme);
    t5.relative_attention_bias->weight.copy_(peer_position(name + ".table"));
    const at::Tensor distance = at::arange(300) - at::tensor({0, 299}).unsqueeze(1);
    const at::Tensor bias = t5.relative_table(encoder)
                                .index_select(1, (distance.clamp(-128, 128) + 128).flatten())
                                .view({3, 2, 300});
    EXPECT_TRUE(bias.equal(peer_position(name + ".bias"))) << name;
  }
}

TEST(PositionPeers, T5LayerOfTransformers) {
  const auto weight = [](const char* key) {
    return peer_position(std::string("t5.layer.") + key + ".weight").clone().requires_grad_();
  };
  const at::Tensor x = peer_position("t5.layer.x").clone().requires_grad_(), w_q = weight("q"),
                   w_k = weight("k"), w_v = weight("v"), w_o = weight("o");
  const auto scheme = parse_position("t5").build(peer_shape(3, 4, 12));
  scheme->to(at::kDouble);
  {
    const at::NoGradGuard no_grad;
    scheme->parameters().at(0).copy_(weight("relative_attention_bias"));
  }
  const auto heads = [&](const at::Tensor& w) {
    return at::linear(x, w).unflatten(2, {3, 4}).transpose(1, 2);
  };
  AttentionInput input;
  input.q = heads(w_q), input.k = heads(w_k), input.v = heads(w_v);
  const auto dot = parse_attention("dot").build({3, 3, 4, 4});
  const at::Tensor out = at::linear(scheme->attend(*dot, input).out.transpose(1, 2).flatten(2), w_o);
  expect_peer(out, peer_position("t5.layer.out"), "out");
  (out * peer_position("t5.layer.seen")).sum().backward();
  const auto grad = [](const char* key) { return peer_position(std::string("t5.layer.grad.") + key); };
  expect_peer(x.grad(), grad("x"), "x");
  expect_peer(w_q.grad(), grad("q.weight"), "q");
  expect_peer(w_k.grad(), grad("k.weight"), "k");
  expect_peer(w_v.grad(), grad("v.weight"), "v");
  expect_peer(scheme->parameters().at(0).grad(), grad("relative_attention_bias.weight"), "table");
}

TEST(PositionPeers, AlibiSlopesOfBloom) {
  for (const int64_t heads : {1, 8, 12, 20}) {
    expect_peer(alibi_slopes(heads), peer_position("alibi." + std::to_string(heads)), "slopes", 1e-7);
  }
}

TEST(PositionPeers, SineOfDetr) {
  for (const bool plain : {false, true}) {
    const auto scheme =
        parse_position(plain ? "sine2d:normalize=false" : "sine2d").build(peer_grid(5, 7, 16));
    const at::Tensor table = scheme->after(0, at::zeros({1, 35, 16}, at::kDouble))[0].t();
    expect_peer(table, peer_position(plain ? "sine2d.plain" : "sine2d").flatten(1), plain ? "plain" : "2 pi");
  }
}

TEST(PositionPeers, ConditionalOfTimm) {
  const auto scheme = parse_position("conditional").build(peer_grid(4, 5, 6));
  scheme->to(at::kDouble);
  const at::NoGradGuard no_grad;
  scheme->named_parameters()["proj.0.weight"].copy_(peer_position("conditional.weight"));
  scheme->named_parameters()["proj.0.bias"].copy_(peer_position("conditional.bias"));
  expect_peer(scheme->after(1, peer_position("conditional.x")), peer_position("conditional.out"), "out");
}

// Queries and keys of 0 leave the biases, in the kernel's table and, behind tokens, as biases of pairs.
TEST(PositionPeers, SwinOfTimm) {
  for (const int64_t prefix : {0, 2}) {
    PositionShape shape = peer_grid(3, 4, 6, 2);
    shape.grid->prefix = prefix;
    const auto scheme = parse_position("swin").build(shape);
    scheme->to(at::kDouble);
    const at::NoGradGuard no_grad;
    scheme->named_parameters()["relative_position_bias_table"].copy_(peer_position("swin.table"));
    AttentionInput input;
    input.q = input.k = input.v = at::zeros({1, 2, 12 + prefix, 6}, at::kDouble);
    input.call.weights = true;
    const at::Tensor bias = at::constant_pad_nd(peer_position("swin.bias"), {prefix, 0, prefix, 0});
    expect_peer(scheme->attend(*parse_attention("softmax").build(shape), input).weights[0], bias.softmax(-1),
                "weights");
  }
}

}  // namespace
}  // namespace fovea::nn
