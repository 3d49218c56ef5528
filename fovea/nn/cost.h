#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fovea::nn {

/// A layer that multiplies and adds: it knows its own arithmetic, so that a summary needs no list of types.
class Costed {
 public:
  virtual ~Costed() = default;
  /// Multiply-adds of one call, its children's not included. Norms, activations, pooling, biases and sums
  /// count nothing, as the field counts.
  virtual int64_t multiply_adds(const at::Tensor& input, const at::Tensor& output) const = 0;
};

/// What one output position of a layer sees of its input, along one axis.
struct Window {
  int64_t kernel = 1, stride = 1, dilation = 1;
};

/// A layer that slides a window over (B, C, H, W). Gives the receptive field of a network.
class Windowed {
 public:
  virtual ~Windowed() = default;
  /// `axis` is 2 (height) or 3 (width).
  virtual Window window(const at::Tensor& input, int axis) const = 0;
};

/// A layer whose output at every place depends on all places of its input: attention.
class SeesAll {
 public:
  virtual ~SeesAll() = default;
};

}  // namespace fovea::nn
