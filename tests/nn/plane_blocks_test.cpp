#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <string>

#include "fovea/nn/block/augmented_conv.h"
#include "tests/support/errors.h"

// Blocks and heads of networks of images.

namespace fovea::nn {
namespace {

double gap_of(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

at::Tensor random_map(int64_t channels, int64_t rows, int64_t columns) {
  return at::randn({2, channels, rows, columns}, at::kDouble);
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
  EXPECT_LT(gap_of(layer->forward(x), at::cat({convolved, attended}, 1)), 1e-12);
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

}  // namespace
}  // namespace fovea::nn
