// Attention over images: mechanisms that know rows and columns, or products of channels, and blocks of them.
#include <ATen/ATen.h>

#include "fovea/nn/attention/registry.h"
#include "fovea/nn/bilinear_pooling.h"
#include "fovea/nn/block/augmented_conv.h"
#include "fovea/nn/block/coatnet.h"

// 32 x 32 places behind a class token.
fovea::nn::AttentionInput places() {
  fovea::nn::AttentionInput input;
  input.grid = fovea::nn::GridPositions{.rows = 32, .columns = 32, .prefix = 1};
  input.q = input.k = input.v = at::randn({1, 4, 1025, 16});
  return input;
}

bool axial() {
  const auto input = places();
  auto attention = fovea::nn::parse_attention("axial:axes=sequence").build({4, 4, 16, 16});
  const auto out = attention->forward(input).out;
  return out.sizes().equals({1, 4, 1025, 16});
}

bool conv_augmented() {
  const auto input = places();
  auto attention = fovea::nn::parse_attention("conv_augmented").build({4, 4, 16, 16, 0, input.grid});
  const auto out = attention->forward(input).out;
  return out.sizes().equals({1, 4, 1025, 16});
}

bool augmented_block() {
  fovea::nn::AttentionAugmentedConv2dOptions options;
  options.in_channels = 24, options.out_channels = 64;
  options.key_channels = 16, options.value_channels = 8, options.heads = 4;
  options.grid = {.rows = 14, .columns = 14};
  fovea::nn::AttentionAugmentedConv2d layer(options);
  const auto out = layer->forward(at::randn({2, 24, 14, 14}));
  return out.sizes().equals({2, 64, 14, 14});
}

bool channel() {
  const auto input = places();
  auto attention = fovea::nn::parse_attention("channel:score=paper").build({4, 4, 16, 16});
  const auto out = attention->forward(input).out;
  return out.sizes().equals({1, 4, 1025, 16});
}

bool position() {
  const auto input = places();
  auto attention = fovea::nn::parse_attention("position").build({4, 4, 16, 16});
  const auto out = attention->forward(input).out;
  return out.sizes().equals({1, 4, 1025, 16});
}

bool double_attention() {
  auto input = places();
  input.k = input.v = at::randn({1, 4, 4096, 16});
  auto attention = fovea::nn::parse_attention("double").build({4, 4, 16, 16});
  const auto out = attention->forward(input).out;
  return out.sizes().equals({1, 4, 1025, 16});
}

bool bilinear_pooling() {
  fovea::nn::BilinearPooling head(/*channels=*/32, /*others=*/32, /*classes=*/200);
  const auto logits = head->forward(at::randn({2, 32, 7, 7}));
  return logits.sizes().equals({2, 200});
}

bool coatnet() {
  const fovea::nn::CoAtNetOptions first{.in_channels = 32, .out_channels = 64, .stride = 2},
      second{.in_channels = 64, .out_channels = 96, .stride = 2};
  fovea::nn::RelativeAttentionOptions relative;
  relative.grid = {.rows = 7, .columns = 7};
  fovea::nn::MbConv convolution(first);
  fovea::nn::CoAtNetTransformer attention(second, relative);
  const auto out = attention->forward(convolution->forward(at::randn({2, 32, 28, 28})));
  return out.sizes().equals({2, 96, 7, 7});
}

int main() {
  const bool all[] = {axial(),    conv_augmented(),   augmented_block(),  channel(),
                      position(), double_attention(), bilinear_pooling(), coatnet()};
  for (const bool works : all) {
    if (!works) return 1;
  }
  return 0;
}
