#pragma once
// Modules that activation checkpointing is tried on.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <memory>
#include <vector>

#include "fovea/nn/activation_checkpoint.h"

namespace fovea::nn {

namespace tnn = torch::nn;
using Tensors = std::vector<at::Tensor>;

/// Batch norm and dropout, with a ReLU in place: what checkpointing gets wrong most easily.
struct ConvBlock : tnn::Module {
  explicit ConvBlock(double drop = 0.3) {
    conv1 = register_module("conv1", tnn::Conv2d(tnn::Conv2dOptions(4, 8, 3).padding(1)));
    norm = register_module("norm", tnn::BatchNorm2d(8));
    dropout = register_module("dropout", tnn::Dropout(drop));
    conv2 = register_module("conv2", tnn::Conv2d(tnn::Conv2dOptions(8, 4, 3).padding(1)));
  }
  at::Tensor forward(const at::Tensor& x) {
    ++calls;
    at::Tensor hidden = norm->forward(conv1->forward(x));
    hidden.relu_();
    return x + conv2->forward(dropout->forward(hidden)).tanh();
  }
  tnn::Conv2d conv1{nullptr}, conv2{nullptr};
  tnn::BatchNorm2d norm{nullptr};
  tnn::Dropout dropout{nullptr};
  int calls = 0;
};

/// A pre-norm MLP of a transformer.
struct MlpBlock : tnn::Module {
  explicit MlpBlock(int64_t dim) {
    norm = register_module("norm", tnn::LayerNorm(tnn::LayerNormOptions({dim})));
    fc1 = register_module("fc1", tnn::Linear(dim, 4 * dim));
    fc2 = register_module("fc2", tnn::Linear(4 * dim, dim));
  }
  at::Tensor forward(const at::Tensor& x) {
    return x + fc2->forward(at::gelu(fc1->forward(norm->forward(x))));
  }
  tnn::LayerNorm norm{nullptr};
  tnn::Linear fc1{nullptr}, fc2{nullptr};
};

/// How `call` runs a module: as it is, or through checkpoint().
enum class Mode { plain, checkpointed };

template <class Module>
at::Tensor call(Mode mode, const std::shared_ptr<Module>& module, const at::Tensor& x) {
  return mode == Mode::plain ? module->forward(x) : checkpoint(module, x);
}

/// Equal to the bit.
inline void expect_same(const Tensors& found, const Tensors& wanted) {
  ASSERT_EQ(found.size(), wanted.size());
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_TRUE(found[i].defined() && wanted[i].defined()) << "tensor " << i;
    EXPECT_TRUE(at::equal(found[i], wanted[i])) << "tensor " << i;
  }
}

}  // namespace fovea::nn
