#include "fovea/nn/penalty.h"

#include <ATen/TensorOperators.h>
#include <torch/nn/module.h>

#include "fovea/nn/recompute.h"

namespace fovea::nn {

void Penalised::owe(const at::Tensor& penalty) {
  if (!recomputing()) owed_ = penalty;
}

at::Tensor take_penalties(const torch::nn::Module& network) {
  at::Tensor sum;
  for (const auto& module : network.modules(/*include_self=*/false)) {
    auto* penalised = dynamic_cast<Penalised*>(module.get());
    const at::Tensor owed = penalised ? penalised->take_penalty() : at::Tensor();
    if (owed.defined()) sum = sum.defined() ? sum + owed : owed;
  }
  return sum;
}

}  // namespace fovea::nn
