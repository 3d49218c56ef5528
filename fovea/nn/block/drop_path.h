#pragma once
#include "fovea/nn/layers.h"

namespace fovea::nn {

/// Stochastic depth: in training, a sample's branch is dropped with probability p, else scaled by 1 / (1 -
/// p), so that its mean stays.   x (B, ...). Source: Huang et al. 2016, Deep networks with stochastic
/// depth, 3.
class DropPathImpl : public torch::nn::Module {
 public:
  /// p in [0, 1); throws fovea::Error (usage) otherwise.
  explicit DropPathImpl(double p = 0.0);
  at::Tensor forward(const at::Tensor& x);

 private:
  double p_;
};
TORCH_MODULE(DropPath);

/// The drop probability of block `index` of `depth`: from 0 at the first block in a straight line to `last`
/// at the last.   last index / (depth - 1)
double drop_path_rate_of(int64_t index, int64_t depth, double last);

}  // namespace fovea::nn
