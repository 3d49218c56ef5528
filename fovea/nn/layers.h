#pragma once
// torch's layers, with torch's options and state-dict keys, whose forward also calls tap(). Networks are
// built of these alone, so that summaries, Grad-CAM and the search for a NaN need no names.
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "fovea/nn/cost.h"
#include "fovea/nn/tap.h"

namespace fovea::nn {

/// torch::nn::Conv2d.   (B, C, H, W) -> (B, C', H', W'). Multiply-adds: C/groups kh kw an output number.
class Conv2dImpl : public torch::nn::Conv2dImpl, public Costed, public Windowed {
 public:
  using torch::nn::Conv2dImpl::Conv2dImpl;
  at::Tensor forward(const at::Tensor& x);
  int64_t multiply_adds(const at::Tensor& input, const at::Tensor& output) const override;
  Window window(const at::Tensor& input, int axis) const override;
};
TORCH_MODULE(Conv2d);

/// torch::nn::Linear.   (..., C) -> (..., C'). Multiply-adds: C an output number.
class LinearImpl : public torch::nn::LinearImpl, public Costed {
 public:
  using torch::nn::LinearImpl::LinearImpl;
  at::Tensor forward(const at::Tensor& x);
  int64_t multiply_adds(const at::Tensor& input, const at::Tensor& output) const override;
};
TORCH_MODULE(Linear);

/// torch::nn::BatchNorm2d.   (B, C, H, W)
class BatchNorm2dImpl : public torch::nn::BatchNorm2dImpl {
 public:
  using torch::nn::BatchNorm2dImpl::BatchNorm2dImpl;
  at::Tensor forward(const at::Tensor& x);
};
TORCH_MODULE(BatchNorm2d);

/// torch::nn::LayerNorm.   (..., C)
class LayerNormImpl : public torch::nn::LayerNormImpl {
 public:
  using torch::nn::LayerNormImpl::LayerNormImpl;
  at::Tensor forward(const at::Tensor& x);
  /// A weight alone, which Python's torch knows as bias=False and C++'s does not.
  void drop_bias();
};
TORCH_MODULE(LayerNorm);

/// torch::nn::Dropout.
class DropoutImpl : public torch::nn::DropoutImpl {
 public:
  using torch::nn::DropoutImpl::DropoutImpl;
  at::Tensor forward(const at::Tensor& x);
};
TORCH_MODULE(Dropout);

/// max(x, 0).   `inplace` overwrites x, which the caller must not need again; not done while tapped().
class ReLUImpl : public torch::nn::Module {
 public:
  explicit ReLUImpl(bool inplace = false) : inplace_(inplace) {}
  at::Tensor forward(const at::Tensor& x);

 private:
  bool inplace_;
};
TORCH_MODULE(ReLU);

/// x Phi(x), with the exact normal distribution function.   Source: Hendrycks and Gimpel 2016.
class GELUImpl : public torch::nn::Module {
 public:
  at::Tensor forward(const at::Tensor& x);
};
TORCH_MODULE(GELU);

/// Maximum over a window, with torch's rounding of sizes.   (B, C, H, W) -> (B, C, H', W')
class MaxPool2dImpl : public torch::nn::Module, public Windowed {
 public:
  MaxPool2dImpl(int64_t kernel, int64_t stride, int64_t padding)
      : kernel_(kernel), stride_(stride), padding_(padding) {}
  at::Tensor forward(const at::Tensor& x);
  Window window(const at::Tensor& input, int axis) const override;

 private:
  int64_t kernel_, stride_, padding_;
};
TORCH_MODULE(MaxPool2d);

/// Mean over all positions.   (B, C, H, W) -> (B, C)
class GlobalAvgPool2dImpl : public torch::nn::Module, public Windowed {
 public:
  at::Tensor forward(const at::Tensor& x);
  Window window(const at::Tensor& input, int axis) const override;
};
TORCH_MODULE(GlobalAvgPool2d);

}  // namespace fovea::nn
