#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <string>
#include <utility>

#include "fovea/io/tensors.h"
#include "fovea/nn/bilinear_pooling.h"
#include "fovea/nn/block/augmented_conv.h"
#include "fovea/nn/block/coatnet.h"
#include "fovea/ops/bilinear_pool.h"
#include "tests/nn/gap.h"
#include "tests/support/errors.h"

// Blocks and heads of networks of images.

namespace fovea::nn {
namespace {

at::Tensor random_map(int64_t channels, int64_t rows, int64_t columns) {
  return at::randn({2, channels, rows, columns}, at::kDouble);
}

// Place by place, with the square root as it is: no product is near 0.
TEST(BilinearPool, IsItsFormula) {
  at::manual_seed(1);
  const at::Tensor a = random_map(3, 4, 5), b = random_map(2, 4, 5), found = bilinear_pool(a, b);
  at::Tensor products = at::zeros({2, 3, 2}, at::kDouble);
  for (int64_t y = 0; y < 4; ++y) {
    for (int64_t x = 0; x < 5; ++x) {
      const auto at_place = [&](const at::Tensor& t) { return t.select(2, y).select(2, x); };
      products += at_place(a).unsqueeze(2) * at_place(b).unsqueeze(1);
    }
  }
  const at::Tensor roots = (products.sign() * products.abs().sqrt()).flatten(1);
  EXPECT_GT(products.abs().min().item<double>(), 1e-2);
  EXPECT_LT(gap(found, roots / roots.norm(2, 1, true)), 1e-6);
  EXPECT_LT(gap(found.norm(2, 1), at::ones({2})), 1e-6);
  // Where eps counts: p = -eps, s = -sqrt(eps / 2), and s / sqrt(3/2 eps).
  const at::Tensor tiny = at::full({1, 1, 1, 1}, 1e-4, at::kDouble);
  EXPECT_NEAR(bilinear_pool(tiny, -tiny).item<double>(), -1.0 / std::sqrt(3.0), 1e-9);
  // Where things are does not matter, nor how many times they are there.
  const at::Tensor order = at::randperm(20);
  const auto moved = [&](const at::Tensor& t) { return t.flatten(2).index_select(2, order).view(t.sizes()); };
  EXPECT_LT(gap(bilinear_pool(moved(a), moved(b)), found), 1e-12);
  EXPECT_LT(gap(bilinear_pool(a.repeat({1, 1, 2, 1}), b.repeat({1, 1, 2, 1})), found), 1e-7);
  EXPECT_LT(gap(bilinear_pool(a.to(at::kFloat), b.to(at::kFloat)), found), 1e-5);
}

TEST(BilinearPool, GradientsAreSlopes) {
  at::manual_seed(2);
  at::Tensor x = random_map(3, 2, 2);
  const at::Tensor seen = at::randn({2, 9}, at::kDouble), direction = at::randn_like(x);
  // A channel of zeros: products of exactly 0, where the square root itself has no slope.
  x.select(1, 1).zero_();
  const at::Tensor leaf = x.detach().requires_grad_();
  (bilinear_pool(leaf, leaf) * seen).sum().backward();
  EXPECT_TRUE(at::isfinite(leaf.grad()).all().item<bool>());
  constexpr double kStep = 1e-12;  // well within the round part of the root
  const auto value = [&](double step) {
    const at::Tensor moved = x + direction * step;
    return (bilinear_pool(moved, moved) * seen).sum().item<double>();
  };
  const double slope = (value(kStep) - value(-kStep)) / (2 * kStep);
  EXPECT_NEAR((leaf.grad() * direction).sum().item<double>() / slope, 1.0, 1e-3);
}

// Features that are all 0, as of a dead ReLU.
TEST(BilinearPool, OfNothingIsNothing) {
  const at::Tensor x = at::zeros({1, 4, 3, 3}).requires_grad_();
  const at::Tensor out = bilinear_pool(x, x);
  EXPECT_EQ(out.abs().max().item<double>(), 0.0);
  out.sum().backward();
  EXPECT_EQ(x.grad().abs().max().item<double>(), 0.0);
  const at::Tensor alive = at::ones({1, 4, 3, 3}).requires_grad_(), dead = at::zeros({1, 2, 3, 3});
  bilinear_pool(alive, dead).sum().backward();
  EXPECT_TRUE(at::isfinite(alive.grad()).all().item<bool>());
}

TEST(BilinearPool, RefusesWhatDoesNotFit) {
  const at::Tensor a = at::ones({2, 3, 4, 4});
  for (const at::Tensor& b :
       {at::ones({2, 3, 4}), at::ones({1, 3, 4, 4}), at::ones({2, 3, 4, 5}), at::ones({2, 3, 4, 4}, at::kInt),
        at::ones({2, 3, 4, 4}, at::kDouble), at::Tensor()}) {
    expect_error(ErrorKind::usage, {"[bilinear_pool] a and b must be maps"}, [&] { bilinear_pool(a, b); });
  }
}

TEST(BilinearPooling, IsAHead) {
  at::manual_seed(3);
  BilinearPooling head(3, 2, 5);
  const at::Tensor a = random_map(3, 4, 4).to(at::kFloat), b = random_map(2, 4, 4).to(at::kFloat);
  EXPECT_LT(gap(head->forward(a, b), head->fc->forward(bilinear_pool(a, b))), 1e-7);
  EXPECT_EQ(head->multiply_adds(a, {}), 2 * 3 * 2 * 16);
  BilinearPooling own(3, 3, 5);
  EXPECT_LT(gap(own->forward(a), own->forward(a, a)), 1e-7);
}

AttentionAugmentedConv2dOptions small_augmented() {
  AttentionAugmentedConv2dOptions options;
  options.in_channels = 3, options.out_channels = 7, options.key_channels = 6, options.value_channels = 4;
  options.heads = 2;
  options.grid = {.rows = 3, .columns = 4};
  return options;
}

// Pair by pair, as the paper has it.
TEST(AttentionAugmentedConv2d, IsItsFormula) {
  at::manual_seed(4);
  const torch::NoGradGuard no_grad;
  AttentionAugmentedConv2d layer(small_augmented());
  layer->to(at::kDouble);
  const at::Tensor x = random_map(3, 3, 4);
  const auto parameters = layer->attention->named_parameters();
  const at::Tensor qkv = at::conv2d(x, layer->qkv_conv->weight, layer->qkv_conv->bias).flatten(2);
  at::Tensor map = at::zeros({2, 4, 12}, at::kDouble);
  for (int64_t head = 0; head < 2; ++head) {
    const at::Tensor q = qkv.narrow(1, 3 * head, 3), k = qkv.narrow(1, 6 + 3 * head, 3),
                     v = qkv.narrow(1, 12 + 2 * head, 2);
    for (int64_t i = 0; i < 12; ++i) {
      at::Tensor scores = at::zeros({2, 12}, at::kDouble);
      for (int64_t j = 0; j < 12; ++j) {
        const at::Tensor away =
            parameters["key_rel_w"][j % 4 - i % 4 + 3] + parameters["key_rel_h"][j / 4 - i / 4 + 2];
        scores.select(1, j).copy_((q.select(2, i) * (k.select(2, j) + away)).sum(1) / std::sqrt(3.0));
      }
      map.narrow(1, 2 * head, 2).select(2, i).copy_((scores.softmax(1).unsqueeze(1) * v).sum(2));
    }
  }
  const at::Tensor attended =
      at::conv2d(map.view({2, 4, 3, 4}), layer->attn_out->weight, layer->attn_out->bias);
  const at::Tensor convolved = at::conv2d(x, layer->conv_out->weight, layer->conv_out->bias, 1, 1);
  EXPECT_LT(gap(layer->forward(x), at::cat({convolved, attended}, 1)), 1e-12);
}

TEST(AttentionAugmentedConv2d, RefusesWhatDoesNotFit) {
  const auto refuses = [](const std::string& part, auto&& change) {
    AttentionAugmentedConv2dOptions options = small_augmented();
    change(options);
    expect_error(ErrorKind::usage, {"[augmented_conv]", part},
                 [&] { AttentionAugmentedConv2d layer(options); });
  };
  refuses("heads must divide", [](auto& o) { o.heads = 4; });
  refuses("heads must divide", [](auto& o) { o.heads = 0; });
  refuses("heads must divide", [](auto& o) { o.value_channels = 8; });
  refuses("must be odd", [](auto& o) { o.kernel_size = 2; });
  refuses("rows and columns", [](auto& o) { o.grid = {}; });
  AttentionAugmentedConv2d layer(small_augmented());
  expect_error(ErrorKind::usage, {"maps must be (B, C, 3, 4)", "(2, 3, 4, 3)"}, [&] {
    layer->forward(at::zeros({2, 3, 4, 3}));
  });
}

// One of scripts/parity_tests/plane_golden.py.
class TimmBlock {
 public:
  explicit TimmBlock(std::string name) : name_(std::move(name)) {}

  // The very names of timm's parameters, and their numbers, outputs and gradients.
  template <class Block>
  void expect_equal(Block& block) const {
    block.to(at::kDouble);
    block.eval();
    fill(block);
    at::Tensor x = number("x").clone().requires_grad_();
    const at::Tensor out = block.forward(x);
    EXPECT_LT(gap(out, number("out")), 1e-12) << name_;
    (out * number("seen")).sum().backward();
    EXPECT_LT(gap(x.grad(), number("grad.x")), 1e-11) << name_;
    size_t count = 0;
    for (const auto& [key, tensor] : tensors()) count += key.starts_with(name_ + ".grad.") ? 1 : 0;
    EXPECT_EQ(block.named_parameters().size() + 1, count) << name_;
    for (const auto& item : block.named_parameters()) {
      EXPECT_LT(gap(item.value().grad(), number("grad." + item.key())), 1e-11) << name_ << ' ' << item.key();
    }
  }

 private:
  static const io::TensorMap& tensors() {
    static const io::TensorMap all = io::load_tensors(FOVEA_TEST_DATA "/nn/plane.safetensors");
    return all;
  }
  const at::Tensor& number(const std::string& key) const { return tensors().at(name_ + "." + key); }
  template <class Block>
  void fill(Block& block) const {
    const torch::NoGradGuard no_grad;
    for (const auto& item : block.named_parameters()) item.value().copy_(number("weight." + item.key()));
    for (const auto& item : block.named_buffers()) {
      if (item.key().find("running") != std::string::npos) item.value().copy_(number("weight." + item.key()));
    }
  }

  std::string name_;
};

RelativeAttentionOptions small_relative() {
  RelativeAttentionOptions options;
  options.head_dim = 4;
  options.grid = {.rows = 3, .columns = 5};
  return options;
}

TEST(CoAtNet, BlocksAreTimms) {
  for (const int64_t stride : {1, 2}) {
    const CoAtNetOptions options{.in_channels = 8, .out_channels = 8 * stride, .stride = stride};
    MbConv convolution(options);
    TimmBlock("conv" + std::to_string(stride)).expect_equal(*convolution);
    CoAtNetTransformer transformer(options, small_relative());
    TimmBlock("transformer" + std::to_string(stride)).expect_equal(*transformer);
  }
}

// What a place gets from its neighbours' numbers depends on how far away they are, not on where they are.
TEST(CoAtNet, RelativeNumbersMoveWithThePlace) {
  at::manual_seed(5);
  const torch::NoGradGuard no_grad;
  RelativeAttentionOptions options = small_relative();
  options.in_channels = options.out_channels = 4;
  RelativeAttention layer(options);
  layer->to(at::kDouble);
  at::Tensor table = layer->named_parameters()["rel_pos.relative_position_bias_table"];
  table.fill_(-1e9);
  // Entry of one row down and two columns right of the query, which alone it sees where that is in the map.
  table[(-1 + 2) * 9 + (-2 + 4)] = 0.0;
  const at::Tensor x = random_map(4, 3, 5), out = layer->forward(x);
  const at::Tensor values = at::conv2d(x, layer->named_parameters()["qkv.weight"].narrow(0, 8, 4),
                                       layer->named_parameters()["qkv.bias"].narrow(0, 8, 4));
  const at::Tensor expected =
      at::conv2d(values, layer->named_parameters()["proj.weight"], layer->named_parameters()["proj.bias"]);
  EXPECT_LT(gap(out.narrow(2, 0, 2).narrow(3, 0, 3), expected.narrow(2, 1, 2).narrow(3, 2, 3)), 1e-12);
}

TEST(CoAtNet, RefusesWhatDoesNotFit) {
  for (const CoAtNetOptions options :
       {CoAtNetOptions{8, 16, 1}, CoAtNetOptions{8, 8, 3}, CoAtNetOptions{0, 0, 1}}) {
    expect_error(ErrorKind::usage, {"[coatnet]", "stride"}, [&] { MbConv block(options); });
    expect_error(ErrorKind::usage, {"[coatnet]", "stride"},
                 [&] { CoAtNetTransformer block(options, small_relative()); });
  }
  RelativeAttentionOptions relative = small_relative();
  relative.in_channels = 6, relative.out_channels = 6;
  expect_error(ErrorKind::usage, {"[relative_attention]", "4 of 6"},
               [&] { RelativeAttention layer(relative); });
  relative.in_channels = relative.out_channels = 8;
  relative.attention = "channel";
  RelativeAttention mixes(relative);
  expect_error(ErrorKind::usage, {"[channel] it takes no biases"}, [&] {
    mixes->forward(at::zeros({1, 8, 3, 5}));
  });
  relative.attention = "softmax";
  RelativeAttention layer(relative);
  expect_error(ErrorKind::usage, {"(B, C, 3, 5)", "(1, 8, 5, 3)"}, [&] {
    layer->forward(at::zeros({1, 8, 5, 3}));
  });
  relative.grid = {};
  expect_error(ErrorKind::usage, {"[relative_attention]"}, [&] { RelativeAttention none(relative); });
}

}  // namespace
}  // namespace fovea::nn
