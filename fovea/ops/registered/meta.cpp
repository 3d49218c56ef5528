#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <string>
#include <utility>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/ops/registered/operators.h"
#include "fovea/ops/registered/value_errors.h"

namespace fovea::registered {
namespace {

// One tensor without numbers brings a call here; with others that have them it fits nowhere.
void require_meta(const Arguments& arguments) {
  for (const c10::IValue& argument : arguments) {
    if (!argument.isTensor() || !argument.toTensor().defined() || argument.toTensor().is_meta()) continue;
    throw usage_error("attend", "all tensors must be on one device",
                      "one on " + argument.toTensor().device().str() + " beside one on meta",
                      "Move them to the device of q.");
  }
}

template <const Operator& op>
void shapes(const c10::OperatorHandle& handle, torch::jit::Stack* stack) {
  const Arguments arguments = torch::jit::pop(*stack, handle.schema().arguments().size());
  torch::jit::push(*stack, with_value_errors([&] {
    require_meta(arguments);
    return op.shapes(arguments);
  }));
}

template <const Operator& op>
void backward_shapes(const c10::OperatorHandle& handle, torch::jit::Stack* stack) {
  const Arguments arguments = torch::jit::pop(*stack, handle.schema().arguments().size());
  const auto wanted = arguments[1].toBoolList();  // after the gradients of the results
  std::vector<at::Tensor> gradients;
  for (size_t i = 0; i < op.differentiable; ++i) {
    if (!wanted[i]) continue;
    const at::Tensor input = arguments[2 + i].toTensor();
    gradients.push_back(at::empty_symint(input.sym_sizes(), input.options().requires_grad(false)));
  }
  torch::jit::push(*stack, std::move(gradients));
}

template <const Operator& op>
void add_shapes(torch::Library& library) {
  library.impl(op.name, torch::CppFunction::makeFromBoxedFunction<&shapes<op>>());
  library.impl(op.backward, torch::CppFunction::makeFromBoxedFunction<&backward_shapes<op>>());
}

}  // namespace
}  // namespace fovea::registered

TORCH_LIBRARY_IMPL(fovea, Meta, m) {
  using namespace fovea::registered;
  for_each_operator([&]<const Operator & op>() { add_shapes<op>(m); });
}
