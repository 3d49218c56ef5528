#include "fovea/nn/block/augmented_conv.h"

#include <ATen/ops/cat.h>

#include <string>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/nn/attention/host.h"
#include "fovea/ops/describe.h"

namespace fovea::nn {
namespace {

void check_augmented(const AttentionAugmentedConv2dOptions& o) {
  const bool fit = o.heads >= 1 && o.key_channels >= 1 && o.key_channels % o.heads == 0 &&
                   o.value_channels >= 1 && o.value_channels % o.heads == 0 &&
                   o.value_channels < o.out_channels && o.in_channels >= 1;
  if (!fit) {
    throw usage_error("augmented_conv",
                      "heads must divide the channels of keys and of values, which are fewer than all",
                      std::to_string(o.heads) + " heads, " + std::to_string(o.key_channels) + " of keys, " +
                          std::to_string(o.value_channels) + " of values, " + std::to_string(o.in_channels) +
                          " to " + std::to_string(o.out_channels),
                      "Choose others.");
  }
  if (o.kernel_size < 1 || o.kernel_size % 2 == 0) {
    throw usage_error("augmented_conv", "the kernel must be odd, so that maps keep their size",
                      std::to_string(o.kernel_size), "Choose 3, say.");
  }
  if (o.grid.rows < 1 || o.grid.columns < 1 || o.grid.prefix != 0) {
    throw usage_error("augmented_conv", "a map has rows and columns, and nothing before them",
                      describe_shape({o.grid.rows, o.grid.columns}), "Name the size of its maps.");
  }
}

}  // namespace

AttentionAugmentedConv2dImpl::AttentionAugmentedConv2dImpl(const AttentionAugmentedConv2dOptions& options)
    : options_(options) {
  check_augmented(options);
  const auto& o = options_;
  conv_out = register_module(
      "conv_out",
      Conv2d(torch::nn::Conv2dOptions(o.in_channels, o.out_channels - o.value_channels, o.kernel_size)
                 .padding(o.kernel_size / 2)));
  qkv_conv = register_module(
      "qkv_conv", Conv2d(torch::nn::Conv2dOptions(o.in_channels, 2 * o.key_channels + o.value_channels, 1)));
  attn_out =
      register_module("attn_out", Conv2d(torch::nn::Conv2dOptions(o.value_channels, o.value_channels, 1)));
  attention = register_module(
      "attention",
      hosted_attention("conv_augmented",
                       {o.heads, o.heads, o.key_channels / o.heads, o.value_channels / o.heads, 0}, o.grid));
}

at::Tensor AttentionAugmentedConv2dImpl::forward(const at::Tensor& x) {
  const auto& o = options_;
  if (x.dim() != 4 || x.size(2) != o.grid.rows || x.size(3) != o.grid.columns) {
    throw usage_error("augmented_conv",
                      "maps must be (B, C, " + std::to_string(o.grid.rows) + ", " +
                          std::to_string(o.grid.columns) + "), for which it learns distances",
                      fovea::describe(x), "Build one for maps of this size.");
  }
  const auto parts =
      qkv_conv->forward(x).flatten(2).split_with_sizes({o.key_channels, o.key_channels, o.value_channels}, 1);
  const auto of_heads = [&](const at::Tensor& t) {
    return t.unflatten(1, {o.heads, t.size(1) / o.heads}).transpose(2, 3);
  };
  AttentionInput input;
  input.q = of_heads(parts[0]), input.k = of_heads(parts[1]), input.v = of_heads(parts[2]);
  input.grid = o.grid;
  const at::Tensor attended = run_tapped(*this, *attention, std::move(input)).out;
  const at::Tensor map = attended.transpose(2, 3).flatten(1, 2).unflatten(2, {o.grid.rows, o.grid.columns});
  at::Tensor out = at::cat({conv_out->forward(x), attn_out->forward(map)}, 1);
  tap(*this, x, out);
  return out;
}

int64_t AttentionAugmentedConv2dImpl::multiply_adds(const at::Tensor& input, const at::Tensor&) const {
  const int64_t n = input.size(2) * input.size(3);
  return input.size(0) * options_.heads *
         attention->cost(n, n, options_.key_channels / options_.heads).multiply_adds;
}

}  // namespace fovea::nn
