#include "fovea/models/resnet.h"

#include <torch/nn/init.h>
#include <torch/nn/modules/container/modulelist.h>

#include <map>
#include <numeric>

namespace fovea::models {
namespace {

std::shared_ptr<nn::ResidualBlock> make_block(bool bottleneck, const nn::ResidualOptions& options) {
  if (bottleneck) return std::make_shared<nn::BottleneckImpl>(options);
  return std::make_shared<nn::BasicBlockImpl>(options);
}

}  // namespace

void check(const ResNetConfig& c) {
  require_image_settings("resnet", c.num_classes, c.in_chans, c.img_size);
  require(c.reduction >= 1, "resnet", "reduction must be at least 1", std::to_string(c.reduction));
  for (double rate : {c.drop_rate, c.drop_path_rate}) {
    require(rate >= 0.0 && rate < 1.0, "resnet", "every drop rate must be in [0, 1)", std::to_string(rate));
  }
  nn::check_attention_block(c.attention_block);
}

ResNetShape imagenet_resnet(int64_t depth) {
  static const std::map<int64_t, std::vector<int64_t>> layers = {
      {18, {2, 2, 2, 2}}, {34, {3, 4, 6, 3}}, {50, {3, 4, 6, 3}}, {101, {3, 4, 23, 3}}, {152, {3, 8, 36, 3}}};
  ResNetShape shape;
  shape.layers = layers.at(depth);
  shape.planes = {64, 128, 256, 512};
  shape.bottleneck = depth >= 50;
  return shape;
}

ResNetShape cifar_resnet(int64_t depth, nn::Shortcut shortcut) {
  ResNetShape shape;
  shape.layers.assign(3, (depth - 2) / 6);
  shape.planes = {16, 32, 64};
  shape.imagenet = false;
  shape.shortcut = shortcut;
  return shape;
}

ResNet::ResNet(const ResNetShape& shape, const ResNetConfig& config) : config_(config) {
  check(config);
  const int64_t channels = make_stages(shape, make_stem(shape));
  avgpool_ = register_module("avgpool", nn::GlobalAvgPool2d());
  drop_ = register_module("drop", nn::Dropout(config.drop_rate));
  if (config.num_classes > 0) fc_ = register_module("fc", nn::Linear(channels, config.num_classes));
  init_weights();
}

int64_t ResNet::make_stem(const ResNetShape& shape) {
  const int64_t out = shape.planes.front();
  const auto options = torch::nn::Conv2dOptions(config_.in_chans, out, shape.imagenet ? 7 : 3)
                           .stride(shape.imagenet ? 2 : shape.stem_stride)
                           .padding(shape.imagenet ? 3 : 1)
                           .bias(false);
  conv1_ = register_module("conv1", nn::Conv2d(options));
  bn1_ = register_module("bn1", nn::BatchNorm2d(out));
  relu_ = register_module("relu", nn::ReLU(/*inplace=*/true));
  if (shape.imagenet) maxpool_ = register_module("maxpool", nn::MaxPool2d(3, 2, 1));
  return out;
}

int64_t ResNet::make_stages(const ResNetShape& shape, int64_t channels) {
  const int64_t depth = std::accumulate(shape.layers.begin(), shape.layers.end(), int64_t{0});
  for (size_t stage = 0; stage < shape.layers.size(); ++stage) {
    auto list = register_module("layer" + std::to_string(stage + 1), torch::nn::ModuleList());
    for (int64_t i = 0; i < shape.layers[stage]; ++i) {
      nn::ResidualOptions options;
      options.in_channels = channels;
      options.planes = shape.planes[stage];
      options.stride = stage > 0 && i == 0 ? 2 : 1;
      options.shortcut = shape.shortcut;
      options.attention_block = config_.attention_block;
      options.reduction = config_.reduction;
      options.drop_path =
          nn::drop_path_rate_of(static_cast<int64_t>(blocks_.size()), depth, config_.drop_path_rate);
      blocks_.push_back(make_block(shape.bottleneck, options));
      list->push_back(blocks_.back());
      channels =
          options.planes * (shape.bottleneck ? nn::BottleneckImpl::expansion : nn::BasicBlockImpl::expansion);
    }
  }
  return channels;
}

void ResNet::init_weights() {
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* conv = module->as<nn::Conv2dImpl>()) {
      torch::nn::init::kaiming_normal_(conv->weight, 0.0, torch::kFanOut, torch::kReLU);
    }
  }
  if (!config_.zero_init_residual) return;
  for (auto& block : blocks_) block->zero_init_last();
}

std::vector<InputSpec> ResNet::inputs() const {
  return {{"input",
           {1, config_.in_chans, config_.img_size.height, config_.img_size.width},
           at::kFloat,
           "normalised images (B, C, H, W), of any size"}};
}

at::Tensor ResNet::forward(const at::Tensor& images) {
  check_images(images);
  at::Tensor x = relu_->forward(bn1_->forward(conv1_->forward(images)));
  if (!maxpool_.is_empty()) x = maxpool_->forward(x);
  for (auto& block : blocks_) x = run_block(*block, x);
  at::Tensor out = drop_->forward(avgpool_->forward(x));
  if (!fc_.is_empty()) out = fc_->forward(out);
  nn::tap(*this, images, out);
  return out;
}

const torch::nn::Module& ResNet::cam_layer() const { return *blocks_.back(); }

}  // namespace fovea::models
