#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fovea/nn/attention/alibi.h"
#include "fovea/nn/attention/multi_head_attention.h"
#include "fovea/nn/attention/self_attention.h"
#include "fovea/nn/block/transformer.h"
#include "fovea/nn/position/registry.h"
#include "fovea/nn/position/sinusoidal.h"
#include "fovea/nn/position/t5.h"
#include "tests/nn/gap.h"
#include "tests/support/errors.h"

// Networks that hold a position scheme.

namespace fovea::nn {
namespace {

TransformerOptions placed(const std::string& position) {
  TransformerOptions options;
  options.d_model = 8, options.nhead = 2, options.dim_feedforward = 12, options.dropout = 0.0;
  options.position = position;
  options.grid = GridPositions{2, 3, 0};
  return options;
}

TransformerEncoder placed_encoder(const std::string& position, int64_t layers = 2) {
  TransformerEncoder encoder(placed(position), layers);
  encoder->to(at::kDouble);
  return encoder;
}

// What both have by name; the rest stays.
void share_weights(torch::nn::Module& from, torch::nn::Module& to) {
  const at::NoGradGuard no_grad;
  for (const auto& item : from.named_parameters()) {
    if (auto* other = to.named_parameters().find(item.key())) other->copy_(item.value());
  }
}

std::vector<std::string> keys_of_position(torch::nn::Module& module) {
  std::vector<std::string> keys;
  for (const auto& key : module.named_parameters().keys()) {
    if (key.find("position.") != std::string::npos) keys.push_back(key);
  }
  return keys;
}

using Keys = std::vector<std::string>;

// A mechanism with an order of its own has the one-sided buckets of a decoder, as a call in that order.
TEST(PositionHosts, T5SeesTheOrderOfTheMechanism) {
  at::manual_seed(8);
  const at::Tensor x = at::randn({2, 40, 8}, at::kDouble);
  TransformerOptions options = placed("t5");
  options.grid = std::nullopt;
  TransformerOptions ordered = options;
  ordered.attention = "softmax:causal=true";
  TransformerEncoder plain(options, 1), causal(ordered, 1);
  plain->to(at::kDouble), causal->to(at::kDouble);
  share_weights(*plain, *causal);
  AttentionCall call;
  call.causal = CausalAlignment::top_left;
  EXPECT_LT(gap(causal->forward(x), plain->forward(x, call)), 1e-14);
  EXPECT_GT(gap(causal->forward(x), plain->forward(x)), 1e-3);
}

// A table that all layers share is there once.
TEST(PositionHosts, HoldParametersOnce) {
  EXPECT_EQ(keys_of_position(*placed_encoder("none")), Keys{});
  EXPECT_EQ(keys_of_position(*placed_encoder("rotary")), Keys{});
  EXPECT_EQ(keys_of_position(*placed_encoder("learned")), Keys{"position.pos_embed"});
  EXPECT_EQ(keys_of_position(*placed_encoder("t5")), Keys{"position.relative_attention_bias.weight"});
  EXPECT_EQ(keys_of_position(*placed_encoder("conditional")),
            (Keys{"position.proj.0.weight", "position.proj.0.bias"}));
  EXPECT_EQ(keys_of_position(*placed_encoder("music")),
            (Keys{"layers.0.self_attn.position.Er", "layers.1.self_attn.position.Er"}));
  TransformerDecoder decoder(placed("shaw:values=false"), 1);
  EXPECT_EQ(keys_of_position(*decoder), Keys{"layers.0.self_attn.position.w_K"});
}

// Rows in another order give their results in that order, unless they know where they stand.
TEST(PositionHosts, WithoutPositionsRowsAreASet) {
  at::manual_seed(41);
  const at::NoGradGuard no_grad;
  const at::Tensor order = at::tensor({3, 0, 5, 2, 4, 1}), x = at::randn({2, 6, 8}, at::kDouble);
  for (const auto& entry : position_entries()) {
    auto encoder = placed_encoder(entry.name);
    for (const auto& key : keys_of_position(*encoder)) encoder->named_parameters()[key].normal_();
    const double moved =
        gap(encoder->forward(x.index_select(1, order)), encoder->forward(x).index_select(1, order));
    if (entry.name == "none") {
      EXPECT_LT(moved, 1e-13);
    } else {
      EXPECT_GT(moved, 1e-3) << entry.name;
    }
  }
}

TEST(PositionHosts, SchemesOfScoresAreThoseOfTheCall) {
  at::manual_seed(42);
  const at::NoGradGuard no_grad;
  const at::Tensor x = at::randn({2, 6, 8}, at::kDouble);
  auto plain = placed_encoder("none"), t5 = placed_encoder("t5"), alibi = placed_encoder("alibi");
  share_weights(*plain, *t5), share_weights(*plain, *alibi);
  AttentionCall call;
  auto& scheme = dynamic_cast<T5Position&>(*t5->position);
  scheme.relative_attention_bias->weight.normal_();
  call.relative_table = scheme.relative_table(/*bidirectional=*/true);
  EXPECT_LT(gap(t5->forward(x), plain->forward(x, call)), 1e-13);
  AttentionCall causal;
  causal.causal = CausalAlignment::top_left;
  const at::Tensor of_decoder = t5->forward(x, causal);
  causal.relative_table = scheme.relative_table(/*bidirectional=*/false);
  EXPECT_LT(gap(of_decoder, plain->forward(x, causal)), 1e-13);
  call.relative_table.reset();
  call.alibi_slopes = alibi_slopes(2);
  EXPECT_LT(gap(alibi->forward(x), plain->forward(x, call)), 1e-13);
}

TEST(PositionHosts, SchemesOfRowsActOnce) {
  at::manual_seed(43);
  const at::NoGradGuard no_grad;
  const at::Tensor x = at::randn({2, 6, 8}, at::kDouble);
  auto plain = placed_encoder("none"), sines = placed_encoder("sinusoidal"),
       peg = placed_encoder("conditional");
  share_weights(*plain, *sines), share_weights(*plain, *peg);
  EXPECT_LT(gap(sines->forward(x), plain->forward(x + sinusoidal_positions(at::arange(6), 8))), 1e-13);
  const at::Tensor first = peg->layers[0]->forward(x);
  EXPECT_LT(gap(peg->forward(x), peg->layers[1]->forward(peg->position->after(1, first))), 1e-13);
  // A network of one layer has its positions too.
  auto one = placed_encoder("conditional", 1);
  EXPECT_GT(gap(one->forward(x), one->layers[0]->forward(x)), 1e-3);
}

TEST(PositionHosts, DecodersPlaceTheirOwnRowsOnly) {
  at::manual_seed(44);
  const at::NoGradGuard no_grad;
  const at::Tensor x = at::randn({1, 6, 8}, at::kDouble), memory = at::randn({1, 4, 8}, at::kDouble);
  for (const char* position : {"rotary", "t5", "shaw", "learned"}) {
    TransformerDecoder decoder(placed(position), 2);
    decoder->to(at::kDouble);
    const at::Tensor turned = memory.flip(1);
    EXPECT_LT(gap(decoder->forward(x, memory), decoder->forward(x, turned)), 1e-13) << position;
  }
}

TEST(PositionHosts, HeadsOfKeysMayBeShared) {
  MultiHeadAttentionOptions options;
  options.embed_dim = 8, options.num_heads = 4, options.num_kv_heads = 1;
  for (const char* position : {"rotary", "shaw", "music", "t5", "alibi"}) {
    options.position = position;
    MultiHeadAttention layer(options);
    const at::Tensor x = at::randn({2, 5, 8});
    EXPECT_TRUE(at::isfinite(layer->forward(x, x, x).out).all().item<bool>()) << position;
  }
}

TEST(PositionHosts, ParametersStartAsTheySay) {
  at::manual_seed(45);
  TransformerOptions options = placed("t5");
  options.d_model = 400;
  const Transformer transformer(options, 1, 1);
  const auto parameters = transformer->named_parameters();
  const at::Tensor table = parameters["encoder.position.relative_attention_bias.weight"];
  EXPECT_NEAR(table.std().item<double>(), 0.05, 0.012);
  EXPECT_TRUE(parameters.contains("decoder.position.relative_attention_bias.weight"));
}

TEST(PositionHosts, RefuseWhatDoesNotFit) {
  const auto refuses = [](const std::vector<std::string>& parts, const std::string& position,
                          const std::string& attention = "softmax") {
    MultiHeadAttentionOptions options;
    options.embed_dim = 8, options.num_heads = 2, options.position = position, options.attention = attention;
    expect_error(ErrorKind::usage, parts, [&] { MultiHeadAttention layer(options); });
  };
  refuses({"[sinusoidal]", "rows of a network", "Give it to the network"}, "sinusoidal");
  refuses({"[shaw]", "must add relative keys to its scores", "additive"}, "shaw", "additive");
  refuses({"[music]", "must add relative keys to its scores", "cosine"}, "music", "cosine");
  refuses({"[alibi]", "must take biases", "linear"}, "alibi", "linear");
  refuses({"[swin]", "a sequence"}, "swin");
  MultiHeadAttentionOptions still;
  still.embed_dim = 8, still.num_heads = 2, still.position = "rotary", still.attention = "deformable";
  still.grid = GridPositions{2, 3, 0};
  expect_error(ErrorKind::usage, {"[rotary]", "must read queries and keys", "deformable"},
               [&] { MultiHeadAttention host(still); });
  TransformerOptions sequence = placed("sine2d");
  sequence.grid.reset();
  expect_error(ErrorKind::usage, {"[sine2d]", "a sequence"},
               [&] { TransformerEncoder encoder(sequence, 1); });
  MultiHeadAttentionOptions options;
  options.embed_dim = 8, options.num_heads = 2, options.position = "rotary";
  MultiHeadAttention layer(options);
  const at::Tensor x = at::randn({1, 5, 8}), memory = at::randn({1, 5, 8});
  expect_error(ErrorKind::usage, {"[rotary]", "keys of another sequence"},
               [&] { layer->forward(x, memory, memory); });
  AttentionCall call;
  call.relative_keys = at::zeros({1, 3, 4});
  options.position = "none", options.attention = "cosine";
  MultiHeadAttention cosine(options);
  expect_error(ErrorKind::usage, {"[cosine]", "does not add relative keys to its scores"},
               [&] { cosine->forward(x, x, x, call); });
}

}  // namespace
}  // namespace fovea::nn
