#pragma once
#include "fovea/nn/layers.h"

namespace fovea::nn {

/// The head of a bilinear CNN: classes by which channels of two streams fire together.
///   out = fc(bilinear_pool(a, b))
/// a (B, C, H, W), b (B, D, H, W) -> (B, classes); b is a where there is one stream. Key `fc` (C D ->
/// classes). Throws fovea::Error (usage) as bilinear_pool().   Source: Bilinear CNN Models for Fine-grained
/// Visual Recognition (Lin et al. 2015), 2.1 and 3.1.
class BilinearPoolingImpl : public torch::nn::Module, public Costed {
 public:
  /// C, D, classes.
  BilinearPoolingImpl(int64_t channels, int64_t others, int64_t classes);
  at::Tensor forward(const at::Tensor& a, const at::Tensor& b);
  at::Tensor forward(const at::Tensor& x) { return forward(x, x); }
  /// Of the pooling; those of fc are its own.
  int64_t multiply_adds(const at::Tensor& input, const at::Tensor& output) const override;

  Linear fc{nullptr};

 private:
  int64_t others_;
};
TORCH_MODULE(BilinearPooling);

}  // namespace fovea::nn
