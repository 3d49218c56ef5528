#pragma once
#include "fovea/models/config.h"
#include "fovea/models/network.h"
#include "fovea/nn/block/residual.h"

namespace fovea::models {

/// What makes one ResNet another; fixed by a model's name.
struct ResNetShape {
  /// Blocks of each stage, and their planes; every stage but the first halves the map.
  std::vector<int64_t> layers, planes;
  bool bottleneck = false;
  /// The ImageNet form starts with a 7x7 convolution of stride 2 and a 3x3 max pool of stride 2, the CIFAR
  /// form with a 3x3 convolution of stride `stem_stride`.
  bool imagenet = true;
  int64_t stem_stride = 1;
  nn::Shortcut shortcut = nn::Shortcut::projection;
};

/// Settings of a residual network.
struct ResNetConfig {
  /// 0 classes: no head, the network gives the features that it would read.
  int64_t num_classes = 1000, in_chans = 3;
  /// The size that is assumed when none is given (summary); the network takes images of any size.
  ImageSize img_size;
  /// A name of nn::attention_block_names().
  std::string attention_block = "none";
  /// Channels over hidden width of the attention block.
  int64_t reduction = 16;
  /// The last norm of every block starts at 0.
  bool zero_init_residual = false;
  /// Dropout before the head; stochastic depth of the last block (linear from 0 at the first). In [0, 1).
  double drop_rate = 0.0, drop_path_rate = 0.0;

  template <class Visitor>
  static void fields(ResNetConfig& c, Visitor&& visit) {
    visit("num_classes", c.num_classes);
    visit("in_chans", c.in_chans);
    visit("img_size", c.img_size);
    visit("attention_block", c.attention_block);
    visit("reduction", c.reduction);
    visit("zero_init_residual", c.zero_init_residual);
    visit("drop_rate", c.drop_rate);
    visit("drop_path_rate", c.drop_path_rate);
  }
};

/// Throws fovea::Error (usage) if a value is out of range.
void check(const ResNetConfig& config);

/// ResNet-18, 34 (basic blocks), 50, 101, 152 (bottlenecks) of He et al. 2016, table 1. Any other depth
/// throws std::out_of_range.
ResNetShape imagenet_resnet(int64_t depth);

/// The CIFAR form of depth 6n + 2: n basic blocks in each of three stages, 16, 32, 64 planes. 4.2 of the
/// paper.
ResNetShape cifar_resnet(int64_t depth, nn::Shortcut shortcut);

/// Residual network with torchvision's state-dict keys and initialisation (He et al. 2015, fan out).
/// images (B, C, H, W) -> logits (B, classes).
/// Source: He et al. 2016, Deep residual learning for image recognition.
class ResNet : public ImageNetwork {
 public:
  ResNet(const ResNetShape& shape, const ResNetConfig& config);

  std::vector<InputSpec> inputs() const override;
  at::Tensor forward(const at::Tensor& images) override;
  /// The last residual block.
  const torch::nn::Module& cam_layer() const override;
  TokenGrid token_grid() const override { return {}; }

 protected:
  bool fixed_size() const override { return false; }

 private:
  int64_t make_stem(const ResNetShape& shape);
  int64_t make_stages(const ResNetShape& shape, int64_t channels);
  void init_weights();

  ResNetConfig config_;
  nn::Conv2d conv1_{nullptr};
  nn::BatchNorm2d bn1_{nullptr};
  nn::ReLU relu_{nullptr};
  nn::MaxPool2d maxpool_{nullptr};
  std::vector<std::shared_ptr<nn::ResidualBlock>> blocks_;
  nn::GlobalAvgPool2d avgpool_{nullptr};
  nn::Dropout drop_{nullptr};
  nn::Linear fc_{nullptr};
};

}  // namespace fovea::models
