#pragma once
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <functional>

namespace fovea::nn {

/// Called after a module's forward. For modules of several inputs `input` is the first.
using TapListener =
    std::function<void(const torch::nn::Module& module, const at::Tensor& input, const at::Tensor& output)>;

/// While it lives, every tapped module that runs on this thread calls the listener, in order of completion:
/// layers before the block that holds them. Scopes nest; all listeners are called, the innermost first. The
/// output is the very tensor that the network goes on with, so its gradient can be asked for. (C++ libtorch
/// has no hooks.)
class TapScope {
 public:
  explicit TapScope(TapListener listener);
  ~TapScope();
  TapScope(const TapScope&) = delete;
  TapScope& operator=(const TapScope&) = delete;

 private:
  friend void tap(const torch::nn::Module&, const at::Tensor&, const at::Tensor&);
  TapListener listener_;
  TapScope* outer_;
};

/// True while a TapScope lives on this thread: then no tensor that was shown may be changed in place.
bool tapped();

/// Tells the listeners of this thread. Without one: a thread-local read.
void tap(const torch::nn::Module& module, const at::Tensor& input, const at::Tensor& output);

/// Called with the weights of one attention layer, (B, H, N, M), after dropout.
using AttentionListener = std::function<void(const torch::nn::Module& module, const at::Tensor& weights)>;

/// While it lives, attention layers that run on this thread compute their weights and show them. Costs
/// O(B H N M) memory a layer. Scopes nest as TapScope's do.
class AttentionTapScope {
 public:
  explicit AttentionTapScope(AttentionListener listener);
  ~AttentionTapScope();
  AttentionTapScope(const AttentionTapScope&) = delete;
  AttentionTapScope& operator=(const AttentionTapScope&) = delete;

 private:
  friend void tap_attention(const torch::nn::Module&, const at::Tensor&);
  AttentionListener listener_;
  AttentionTapScope* outer_;
};

/// True while an AttentionTapScope lives on this thread: only then need weights be computed.
bool attention_tapped();

void tap_attention(const torch::nn::Module& module, const at::Tensor& weights);

}  // namespace fovea::nn
