#include <ATen/OpMathType.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <string>
#include <utility>
#include <vector>

#include "fovea/ops/registered/attend_arguments.h"

namespace fovea::registered {
namespace {

at::Tensor fresh(const at::Tensor& like, c10::SymIntArrayRef sizes, at::ScalarType type) {
  return at::empty_symint(sizes, like.options().requires_grad(false).dtype(type));
}

// out, then what is observed. Sizes may be symbols, hence sym_sizes everywhere.
void attend_shapes(const c10::OperatorHandle&, torch::jit::Stack* stack) {
  const Arguments arguments = torch::jit::pop(*stack, argument_count());
  const at::Tensor q = arguments[0].toTensor(), k = arguments[1].toTensor(), v = arguments[2].toTensor();
  std::vector<c10::SymInt> shape = q.sym_sizes().vec();
  shape.back() = v.sym_size(-1);
  std::vector<at::Tensor> results = {fresh(q, shape, q.scalar_type())};
  for (const std::string& name : observed_names(arguments)) {
    if (name == "lse") {
      shape.resize(3);
    } else {
      shape.resize(4);
      shape.back() = k.sym_size(-2);
    }
    results.push_back(fresh(q, shape, at::toOpMathType(q.scalar_type())));
  }
  torch::jit::push(*stack, std::move(results));
}

void attend_backward_shapes(const c10::OperatorHandle&, torch::jit::Stack* stack) {
  const Arguments arguments = torch::jit::pop(*stack, argument_count());
  const auto wanted = torch::jit::pop(*stack).toBoolList();
  torch::jit::drop(*stack, 1);  // gradients of the results
  std::vector<at::Tensor> gradients;
  for (size_t i = 0; i < kDifferentiable; ++i) {
    if (!wanted[i]) continue;
    const at::Tensor input = arguments[i].toTensor();
    gradients.push_back(fresh(input, input.sym_sizes(), input.scalar_type()));
  }
  torch::jit::push(*stack, std::move(gradients));
}

}  // namespace
}  // namespace fovea::registered

TORCH_LIBRARY_IMPL(fovea, Meta, m) {
  using namespace fovea::registered;
  m.impl("attend", torch::CppFunction::makeFromBoxedFunction<&attend_shapes>());
  m.impl("attend_backward", torch::CppFunction::makeFromBoxedFunction<&attend_backward_shapes>());
}
