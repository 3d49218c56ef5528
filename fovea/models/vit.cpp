#include "fovea/models/vit.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <torch/nn/init.h>
#include <torch/nn/modules/container/modulelist.h>

#include "fovea/core/error.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/init.h"
#include "fovea/nn/position/host.h"
#include "fovea/nn/position/learned.h"
#include "fovea/nn/position/registry.h"

namespace fovea::models {
namespace {

nn::GridPositions places_of(const TokenGrid& grid) { return {grid.rows, grid.columns, grid.prefix}; }

nn::TransformerBlockOptions block_options(const VitConfig& c, const TokenGrid& grid, int64_t index) {
  nn::TransformerBlockOptions options;
  options.attention = {c.embed_dim, c.num_heads, c.qkv_bias, c.attn_drop_rate, c.proj_drop_rate, c.attention};
  options.attention.grid = places_of(grid);
  options.attention.position = nn::text_of_layers(c.position);
  options.mlp_ratio = c.mlp_ratio;
  options.drop_path = nn::drop_path_rate_of(index, c.depth, c.drop_path_rate);
  return options;
}

// In causal order the first token, which is read, would see nothing of the image.
void require_sight(const VitConfig& c, const nn::Attention& attention) {
  if (!c.class_token || c.global_pool != "token" || attention.causal() == CausalAlignment::none) return;
  throw usage_error("vit", "the class token must see the patches, and in causal order it sees itself alone",
                    "attention '" + c.attention + "'", "Set class_token=false and global_pool=avg.");
}

}  // namespace

void check(const VitConfig& c) {
  constexpr int64_t kDeepest = 1000, kWidest = 65536;
  constexpr double kLargestRatio = 64;
  require_image_settings("vit", c.num_classes, c.in_chans, c.img_size);
  require_range("vit", "embed_dim", c.embed_dim, 1, kWidest);
  require_range("vit", "depth", c.depth, 1, kDeepest);
  require_range("vit", "num_heads", c.num_heads, 1, kWidest);
  require_range("vit", "patch_size", std::min(c.patch_size.height, c.patch_size.width), 1, kLargestSide);
  require(c.img_size.height >= c.patch_size.height && c.img_size.width >= c.patch_size.width, "vit",
          "img_size must hold at least one patch",
          std::to_string(c.img_size.height) + " x " + std::to_string(c.img_size.width));
  require(c.embed_dim % c.num_heads == 0, "vit", "num_heads must divide embed_dim",
          std::to_string(c.num_heads) + " and " + std::to_string(c.embed_dim));
  require(c.mlp_ratio > 0 && c.mlp_ratio * static_cast<double>(c.embed_dim) >= 1, "vit",
          "mlp_ratio must give a hidden width of at least 1", std::to_string(c.mlp_ratio));
  require(c.mlp_ratio <= kLargestRatio, "vit", "mlp_ratio must be at most 64", std::to_string(c.mlp_ratio));
  require(c.global_pool == "token" || c.global_pool == "avg", "vit", "global_pool must be token or avg",
          "'" + c.global_pool + "'");
  require(c.class_token || c.global_pool == "avg", "vit", "global_pool must be avg when class_token is false",
          "'" + c.global_pool + "'");
  for (double rate : {c.drop_rate, c.pos_drop_rate, c.proj_drop_rate, c.attn_drop_rate, c.drop_path_rate}) {
    require(rate >= 0.0 && rate < 1.0, "vit", "every drop rate must be in [0, 1)", std::to_string(rate));
  }
  nn::parse_attention(c.attention);
  nn::parse_position(c.position);
}

PatchEmbedImpl::PatchEmbedImpl(const VitConfig& c) {
  const torch::ExpandingArray<2> patch({c.patch_size.height, c.patch_size.width});
  proj_ = register_module("proj",
                          nn::Conv2d(torch::nn::Conv2dOptions(c.in_chans, c.embed_dim, patch).stride(patch)));
}

at::Tensor PatchEmbedImpl::forward(const at::Tensor& images) {
  at::Tensor out = proj_->forward(images).flatten(2).transpose(1, 2);
  nn::tap(*this, images, out);
  return out;
}

VisionTransformer::VisionTransformer(const VitConfig& config) : config_(config) {
  check(config);
  grid_ = {config.img_size.height / config.patch_size.height, config.img_size.width / config.patch_size.width,
           config.class_token ? 1 : 0, config.global_pool == "avg"};
  const int64_t dim = config.embed_dim;
  if (config.class_token) cls_token_ = register_parameter("cls_token", at::empty({1, 1, dim}));
  patch_embed_ = register_module("patch_embed", PatchEmbed(config));
  pos_drop_ = register_module("pos_drop", nn::Dropout(config.pos_drop_rate));
  auto list = register_module("blocks", torch::nn::ModuleList());
  for (int64_t i = 0; i < config.depth; ++i) {
    blocks_.emplace_back(block_options(config, grid_, i));
    list->push_back(blocks_.back());
  }
  require_sight(config, *blocks_.front()->attn->attention);
  norm_ = register_module(config.global_pool == "avg" ? "fc_norm" : "norm",
                          nn::LayerNorm(torch::nn::LayerNormOptions({dim}).eps(1e-6)));
  head_drop_ = register_module("head_drop", nn::Dropout(config.drop_rate));
  if (config.num_classes > 0) head_ = register_module("head", nn::Linear(dim, config.num_classes));
  place();
  init_weights();
}

void VisionTransformer::place() {
  const int64_t dim = config_.embed_dim, heads = config_.num_heads;
  position_ = nn::network_position(config_.position,
                                   {{heads, heads, dim / heads, dim / heads, dim}, places_of(grid_)});
  // timm's key is that of the network itself.
  if (auto* learned = dynamic_cast<nn::LearnedPosition*>(position_.get())) {
    register_parameter("pos_embed", learned->pos_embed);
  } else {
    register_module("position", position_);
  }
  for (auto& block : blocks_) nn::share_position(*block->attn, position_);
}

// timm's: linear layers and positions cut normal of deviation 0.02, biases 0; the patch embedding stays
// torch's.
void VisionTransformer::init_weights() {
  if (cls_token_.defined()) torch::nn::init::normal_(cls_token_, 0.0, 1e-6);
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* linear = module->as<nn::LinearImpl>()) {
      nn::trunc_normal_(linear->weight, 0.02);
      if (linear->bias.defined()) torch::nn::init::zeros_(linear->bias);
    }
  }
}

std::vector<InputSpec> VisionTransformer::inputs() const {
  return {{"input",
           {1, config_.in_chans, config_.img_size.height, config_.img_size.width},
           at::kFloat,
           "normalised images (B, C, H, W)"}};
}

at::Tensor VisionTransformer::embed(const at::Tensor& images) {
  at::Tensor x = patch_embed_->forward(images);
  if (cls_token_.defined()) x = at::cat({cls_token_.expand({x.size(0), -1, -1}), x}, 1);
  return pos_drop_->forward(position_->after(0, x));
}

at::Tensor VisionTransformer::forward(const at::Tensor& images) {
  check_images(images);
  at::Tensor x = embed(images);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    x = position_->after(static_cast<int64_t>(i) + 1, run_block(*blocks_[i], x));
  }
  if (config_.global_pool == "avg") {
    x = norm_->forward(x.slice(1, grid_.prefix).mean(1));
  } else {
    // The norm acts on every token by itself, but its output is shown to listeners whole.
    x = norm_->forward(x).select(1, 0);
  }
  at::Tensor out = head_drop_->forward(x);
  if (!head_.is_empty()) out = head_->forward(out);
  nn::tap(*this, images, out);
  return out;
}

const torch::nn::Module& VisionTransformer::cam_layer() const { return *blocks_.back()->norm1; }

TokenGrid VisionTransformer::token_grid() const { return grid_; }

}  // namespace fovea::models
