#include <torch/library.h>

#include <string>

#include "fovea/ops/registered/operators.h"

namespace fovea::registered {
namespace {

// The operator, its results a list where there may be several, and its gradients: from those of the results
// to those of the wanted arguments, in their order.
void define(torch::Library& library, const Operator& op) {
  const std::string arguments = op.arguments() + ") -> Tensor[]";
  library.def((std::string(op.name) + "(" + arguments).c_str());
  library.def((std::string(op.backward) + "(Tensor?[] grads, bool[] wanted, " + arguments).c_str());
}

}  // namespace
}  // namespace fovea::registered

TORCH_LIBRARY(fovea, m) {
  using namespace fovea::registered;
  for_each_operator([&]<const Operator & op>() { define(m, op); });
}
