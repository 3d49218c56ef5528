#pragma once
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "fovea/io/tensors.h"

namespace fovea::models {

/// One tensor that a network wants.
struct InputSpec {
  std::string name;
  /// With a batch of 1.
  std::vector<int64_t> shape;
  at::ScalarType dtype;
  /// In words, for `fovea run model --list-inputs`.
  std::string meaning;
};

/// Runs one block of a network: `forward(x)`, or the same with less memory (activation checkpointing).
using BlockRunner = std::function<at::Tensor(torch::nn::Module& block,
                                             const std::function<at::Tensor(const at::Tensor&)>& forward,
                                             const at::Tensor& x)>;

/// A network: tensors in, tensors out, both by the reference implementation's names.
class Network : public torch::nn::Module {
 public:
  virtual std::vector<InputSpec> inputs() const = 0;

  /// In the mode (training or evaluation) that is set. Throws fovea::Error (data) on a missing, unknown or
  /// mis-shaped input.
  virtual io::TensorMap run(const io::TensorMap& inputs) = 0;

  /// Every residual or transformer block is run through `runner` from now on; an empty one calls it plainly.
  void set_block_runner(BlockRunner runner) { block_runner_ = std::move(runner); }

 protected:
  template <class Block>
  at::Tensor run_block(Block& block, const at::Tensor& x) {
    if (!block_runner_) return block.forward(x);
    return block_runner_(
        block, [&block](const at::Tensor& in) { return block.forward(in); }, x);
  }

 private:
  BlockRunner block_runner_;
};

/// How the tokens of a layer lie over the image: `prefix` tokens (the class token), then rows x columns
/// patches in row order. 0 rows: the layer's output is a map (B, C, h, w).
struct TokenGrid {
  int64_t rows = 0, columns = 0, prefix = 0;
  /// The head reads the mean of the patches; otherwise it reads the first token.
  bool pooled = false;
};

/// A network that classifies images: `input` (B, C, H, W) -> `output` (B, classes), logits.
class ImageNetwork : public Network {
 public:
  /// images (B, C, H, W), normalised -> logits (B, classes). Throws fovea::Error (data) on another shape.
  virtual at::Tensor forward(const at::Tensor& images) = 0;

  /// The layer whose tapped output Grad-CAM looks at: the last one that still has places.
  virtual const torch::nn::Module& cam_layer() const = 0;

  /// Of the output of cam_layer().
  virtual TokenGrid token_grid() const = 0;

  /// Whether images must have exactly the size of inputs(), or any.
  virtual bool fixed_size() const = 0;

  io::TensorMap run(const io::TensorMap& inputs) override;

 protected:
  /// Throws fovea::Error (data) unless `images` fit.
  void check_images(const at::Tensor& images) const;
};

}  // namespace fovea::models
