#pragma once
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

namespace fovea::nn {

/// Kernel regression: the mean of known values, weighted by how near their points are.
///   y(x) = sum_i softmax_i(-|w (x - x_i)|^2 / 2) y_i
/// x (N, D), points (M, D), values (M, Dv) -> (N, Dv). Parameter `w` (1): the kernel is the narrower, the
/// larger |w| is; 1 at the start, and for ever with learned = false, when it is no parameter. Learn it with
/// each point left out of its own estimate (`leave_out`: x are the points themselves, N = M): otherwise w
/// grows without bound. Throws fovea::Error (usage) on other shapes. O(N M D) time. Source: Nadaraya 1964, On
/// estimating regression; Watson 1964, Smooth regression analysis.
class NadarayaWatsonImpl : public torch::nn::Module {
 public:
  explicit NadarayaWatsonImpl(bool learned = true);
  at::Tensor forward(const at::Tensor& x, const at::Tensor& points, const at::Tensor& values,
                     bool leave_out = false);
  /// (N, M), each row sums to 1.
  at::Tensor weights(const at::Tensor& x, const at::Tensor& points, bool leave_out = false);

  at::Tensor w;
};
TORCH_MODULE(NadarayaWatson);

}  // namespace fovea::nn
