#pragma once
// Small networks of known behaviour for the tests of explainers.
#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "fovea/models/registry.h"
#include "fovea/nn/layers.h"

namespace fovea::explain {

/// One linear layer over all pixels: its explanations are known exactly.
class LinearNet : public models::ImageNetwork {
 public:
  LinearNet(int64_t channels, int64_t side, int64_t classes) : channels_(channels), side_(side) {
    head_ = register_module("head", nn::Linear(channels * side * side, classes));
  }
  std::vector<models::InputSpec> inputs() const override {
    return {{"input", {1, channels_, side_, side_}, at::kFloat, "image"}};
  }
  at::Tensor forward(const at::Tensor& images) override { return head_(images.flatten(1)); }
  const torch::nn::Module& cam_layer() const override { return *head_; }
  models::TokenGrid token_grid() const override { return {}; }
  at::Tensor weights_of(int64_t target) const {
    return head_->weight.detach()[target].view({channels_, side_, side_});
  }

 protected:
  bool fixed_size() const override { return true; }

 private:
  int64_t channels_, side_;
  nn::Linear head_{nullptr};
};

/// The network of scripts/parity_tests/explain_golden.py: two convolutions with tanh, one linear layer.
class GoldenNet : public models::ImageNetwork {
 public:
  GoldenNet() {
    conv1_ = register_module("conv1", nn::Conv2d(torch::nn::Conv2dOptions(3, 4, 3).padding(1)));
    conv2_ = register_module("conv2", nn::Conv2d(torch::nn::Conv2dOptions(4, 6, 3).stride(2).padding(1)));
    head_ = register_module("head", nn::Linear(6 * 6 * 6, 4));
  }
  std::vector<models::InputSpec> inputs() const override {
    return {{"input", {1, 3, 12, 12}, at::kFloat, "image"}};
  }
  at::Tensor forward(const at::Tensor& images) override {
    const at::Tensor x = conv1_(images).tanh();
    return head_(conv2_(x).tanh().flatten(1));
  }
  const torch::nn::Module& cam_layer() const override { return *conv2_; }
  models::TokenGrid token_grid() const override { return {}; }

 protected:
  bool fixed_size() const override { return true; }

 private:
  nn::Conv2d conv1_{nullptr}, conv2_{nullptr};
  nn::Linear head_{nullptr};
};

/// Three layers of two heads over 4 x 4 patches of a 16 x 16 grey image; two classes.
inline std::shared_ptr<models::ImageNetwork> small_vit(bool class_token = true) {
  at::manual_seed(3);
  nlohmann::json config = {{"img_size", 16}, {"patch_size", 4}, {"embed_dim", 32}, {"depth", 3},
                           {"num_heads", 2}, {"in_chans", 1},   {"num_classes", 2}};
  if (!class_token) config.update({{"class_token", false}, {"global_pool", "avg"}});
  return models::make_image_model("vit_tiny", config);
}

/// One block in each of three stages, with squeeze-and-excitation; grey images of any size, two classes.
inline std::shared_ptr<models::ImageNetwork> small_resnet() {
  at::manual_seed(4);
  return models::make_image_model("resnet8",
                                  {{"in_chans", 1}, {"num_classes", 2}, {"attention_block", "se"}});
}

/// Largest difference, of the largest value of `b`.
inline double relative_error(const at::Tensor& a, const at::Tensor& b) {
  return ((a.to(at::kDouble) - b).abs().max() / b.abs().max()).item<double>();
}

}  // namespace fovea::explain
