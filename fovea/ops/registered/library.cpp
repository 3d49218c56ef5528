#include <torch/library.h>

#include <string>

#include "fovea/ops/registered/operators.h"

namespace {

// The operator, its results a list where there may be several, and its gradients: from those of the results
// to those of the wanted arguments, in their order.
void define(torch::Library& library, const std::string& name, const std::string& arguments) {
  library.def((name + "(" + arguments + ") -> Tensor[]").c_str());
  library.def((name + "_backward(Tensor?[] grads, bool[] wanted, " + arguments + ") -> Tensor[]").c_str());
}

}  // namespace

TORCH_LIBRARY(fovea, m) {
  using namespace fovea::registered;
  define(m, "attend", attend_arguments());
  define(m, "additive_attend", additive_attend_arguments());
  define(m, "attend_paged", attend_paged_arguments());
}
