#include "fovea/nn/block/coatnet.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/silu.h>

#include <utility>

#include "fovea/core/error.h"
#include "fovea/nn/attention/host.h"
#include "fovea/nn/block/holder.h"
#include "fovea/nn/init.h"
#include "fovea/ops/describe.h"

namespace fovea::nn {
namespace {

void check_stage(const CoAtNetOptions& o) {
  const bool fit = o.in_channels >= 1 && o.out_channels >= 1 &&
                   (o.stride == 2 || (o.stride == 1 && o.in_channels == o.out_channels));
  if (fit) return;
  throw usage_error("coatnet", "a block halves its map, or keeps it and its channels",
                    "stride " + std::to_string(o.stride) + ", " + std::to_string(o.in_channels) + " to " +
                        std::to_string(o.out_channels) + " channels",
                    "Use stride 2 for other channels.");
}

Conv2d pointwise(int64_t in, int64_t out, bool bias) {
  return Conv2d(torch::nn::Conv2dOptions(in, out, 1).bias(bias));
}

LayerNorm channel_norm(int64_t channels) {
  return LayerNorm(torch::nn::LayerNormOptions({channels}).eps(1e-6));
}

// Over the channels of each place of (B, C, H, W).
at::Tensor norm_channels(LayerNorm& norm, const at::Tensor& x) {
  return norm->forward(x.permute({0, 2, 3, 1})).permute({0, 3, 1, 2});
}

}  // namespace

HalvedMapImpl::HalvedMapImpl(int64_t channels, int64_t out_channels) {
  if (channels != out_channels) {
    expand_ = register_module("expand", pointwise(channels, out_channels, /*bias=*/false));
  }
}

at::Tensor HalvedMapImpl::forward(const at::Tensor& x) {
  at::Tensor out = at::avg_pool2d(x, 2);
  tap(*this, x, out);
  return expand_.is_empty() ? out : expand_->forward(out);
}

MbConvImpl::MbConvImpl(const CoAtNetOptions& o) {
  check_stage(o);
  const int64_t mid = 4 * o.in_channels;
  if (o.stride == 2) {
    shortcut_ = register_module("shortcut", HalvedMap(o.in_channels, o.out_channels));
    down_ = register_module("down", HalvedMap(o.in_channels, o.in_channels));
  }
  pre_norm_ = register_module("pre_norm", BatchNorm2d(o.in_channels));
  conv1_ = register_module("conv1_1x1", pointwise(o.in_channels, mid, /*bias=*/false));
  norm1_ = register_module("norm1", BatchNorm2d(mid));
  conv2_ = register_module("conv2_kxk",
                           Conv2d(torch::nn::Conv2dOptions(mid, mid, 3).padding(1).groups(mid).bias(false)));
  se_ = register_module("se_early", SqueezeExcite(mid, o.in_channels));
  norm2_ = register_module("norm2", BatchNorm2d(mid));
  conv3_ = register_module("conv3_1x1", pointwise(mid, o.out_channels, /*bias=*/false));
  drop_path_ = register_module("drop_path", DropPath(o.drop_path));
}

at::Tensor MbConvImpl::forward(const at::Tensor& x) {
  at::Tensor branch = at::silu(pre_norm_->forward(x));
  if (!down_.is_empty()) branch = down_->forward(branch);
  branch = at::silu(norm1_->forward(conv1_->forward(branch)));
  branch = at::silu(norm2_->forward(se_->forward(conv2_->forward(branch))));
  const at::Tensor kept = shortcut_.is_empty() ? x : shortcut_->forward(x);
  at::Tensor out = drop_path_->forward(conv3_->forward(branch)) + kept;
  tap(*this, x, out);
  return out;
}

RelativeAttentionImpl::RelativeAttentionImpl(const RelativeAttentionOptions& options) : options_(options) {
  const auto& o = options_;
  if (o.head_dim < 1 || o.in_channels < 1 || o.out_channels < 1 || o.in_channels % o.head_dim != 0 ||
      o.grid.rows < 1 || o.grid.columns < 1 || o.grid.prefix != 0) {
    throw usage_error("relative_attention",
                      "head_dim must divide the channels, and the grid have rows and columns alone",
                      std::to_string(o.head_dim) + " of " + std::to_string(o.in_channels) + ", a grid of " +
                          describe_shape({o.grid.rows, o.grid.columns}),
                      "Choose others.");
  }
  const int64_t heads = o.in_channels / o.head_dim;
  qkv_ = register_module("qkv", pointwise(o.in_channels, 3 * o.in_channels, /*bias=*/true));
  auto place = register_module("rel_pos", std::make_shared<Holder>());
  const int64_t distances = (2 * o.grid.rows - 1) * (2 * o.grid.columns - 1);
  table_ = place->add_parameter("relative_position_bias_table", at::empty({distances, heads}));
  trunc_normal_(table_, 0.02);
  proj_ = register_module("proj", pointwise(o.in_channels, o.out_channels, /*bias=*/true));
  attention = register_module(
      "attention",
      hosted_attention(o.attention, {heads, heads, o.head_dim, o.head_dim, o.in_channels}, o.grid));
}

at::Tensor RelativeAttentionImpl::forward(const at::Tensor& x) {
  const auto& [rows, columns, prefix] = options_.grid;
  if (x.dim() != 4 || x.size(2) != rows || x.size(3) != columns) {
    throw usage_error("relative_attention",
                      "maps must be (B, C, " + std::to_string(rows) + ", " + std::to_string(columns) +
                          "), for which it learns distances",
                      fovea::describe(x), "Build one for maps of this size.");
  }
  const auto parts = qkv_->forward(x)
                         .flatten(2)
                         .unflatten(1, {options_.in_channels / options_.head_dim, 3, options_.head_dim})
                         .transpose(3, 4)
                         .unbind(2);
  AttentionInput input;
  input.q = parts[0], input.k = parts[1], input.v = parts[2];
  input.x = x.flatten(2).transpose(1, 2);
  input.grid = options_.grid;
  input.call.relative_grid = AttendGrid{table_.t(), rows, columns};
  const at::Tensor attended = run_tapped(*this, *attention, std::move(input)).out;
  at::Tensor out = proj_->forward(attended.transpose(2, 3).flatten(1, 2).unflatten(2, {rows, columns}));
  tap(*this, x, out);
  return out;
}

int64_t RelativeAttentionImpl::multiply_adds(const at::Tensor& input, const at::Tensor&) const {
  const int64_t n = input.size(2) * input.size(3), heads = options_.in_channels / options_.head_dim;
  return input.size(0) * heads * attention->cost(n, n, options_.head_dim).multiply_adds;
}

CoAtNetTransformerImpl::CoAtNetTransformerImpl(const CoAtNetOptions& o, RelativeAttentionOptions attention) {
  check_stage(o);
  attention.in_channels = o.in_channels, attention.out_channels = o.out_channels;
  if (o.stride == 2) {
    shortcut_ = register_module("shortcut", HalvedMap(o.in_channels, o.out_channels));
    auto first = register_module("norm1", std::make_shared<Holder>());
    norm1_ = first->add("norm", channel_norm(o.in_channels));
    down_ = first->add("down", HalvedMap(o.in_channels, o.in_channels));
  } else {
    norm1_ = register_module("norm1", channel_norm(o.in_channels));
  }
  attn_ = register_module("attn", RelativeAttention(attention));
  drop_path1_ = register_module("drop_path1", DropPath(o.drop_path));
  norm2_ = register_module("norm2", channel_norm(o.out_channels));
  auto mlp = register_module("mlp", std::make_shared<Holder>());
  fc1_ = mlp->add("fc1", pointwise(o.out_channels, 4 * o.out_channels, /*bias=*/true));
  act_ = mlp->add("act", GELU());
  fc2_ = mlp->add("fc2", pointwise(4 * o.out_channels, o.out_channels, /*bias=*/true));
  drop_path2_ = register_module("drop_path2", DropPath(o.drop_path));
}

at::Tensor CoAtNetTransformerImpl::forward(const at::Tensor& x) {
  at::Tensor branch = norm_channels(norm1_, x);
  if (!down_.is_empty()) branch = down_->forward(branch);
  const at::Tensor kept = shortcut_.is_empty() ? x : shortcut_->forward(x);
  const at::Tensor y = kept + drop_path1_->forward(attn_->forward(branch));
  const at::Tensor mlp = fc2_->forward(act_->forward(fc1_->forward(norm_channels(norm2_, y))));
  at::Tensor out = y + drop_path2_->forward(mlp);
  tap(*this, x, out);
  return out;
}

}  // namespace fovea::nn
