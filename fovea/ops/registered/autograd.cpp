#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <optional>
#include <utility>
#include <vector>

#include "fovea/ops/registered/operators.h"

namespace fovea::registered {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

c10::OperatorHandle find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
}

// A node of the graph made of two operators, which whoever watches operators can see.
template <const Operator& op>
class VisibleNode : public torch::autograd::Function<VisibleNode<op>> {
 public:
  // `inputs`: the tensors among the differentiable arguments, named beside them as apply() looks for them by
  // type.
  static variable_list forward(AutogradContext* context, at::TensorList inputs, const Arguments& arguments) {
    static const auto self = find(op.name);
    context->save_for_backward(inputs.vec());
    // Where the inputs stand, and the other arguments.
    c10::List<bool> given;
    for (size_t i = 0; i < op.differentiable; ++i) given.push_back(arguments[i].isTensor());
    context->saved_data["given"] = given;
    Arguments rest(arguments.begin() + op.differentiable, arguments.end());
    context->saved_data["rest"] = c10::ivalue::Tuple::create(std::move(rest));
    torch::jit::Stack stack = arguments;
    {
      const at::AutoDispatchBelowAutograd below;
      self.callBoxed(&stack);
    }
    variable_list results = stack[0].toTensorVector(), constant;
    const std::vector<bool> learn = op.have_gradients(arguments);
    for (size_t i = 0; i < results.size(); ++i) {
      if (!learn[i]) constant.push_back(results[i]);
    }
    context->mark_non_differentiable(constant);
    context->set_materialize_grads(false);
    return results;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    static const auto self = find(op.backward);
    const variable_list inputs = context->get_saved_variables();
    const auto given = context->saved_data["given"].toBoolList();
    c10::List<bool> wanted;
    torch::jit::Stack tensors;
    for (size_t i = 0, next = 0; i < op.differentiable; ++i) {
      wanted.push_back(given[i] && context->needs_input_grad(next));
      tensors.push_back(given[i] ? c10::IValue(inputs[next++]) : c10::IValue());
    }
    c10::List<std::optional<at::Tensor>> known;
    for (const at::Tensor& grad : grads) {
      known.push_back(grad.defined() ? std::optional(grad) : std::nullopt);
    }
    torch::jit::Stack stack = {known, wanted};
    stack.insert(stack.end(), tensors.begin(), tensors.end());
    for (const c10::IValue& value : context->saved_data["rest"].toTupleRef().elements()) {
      stack.push_back(value);
    }
    self.callBoxed(&stack);
    variable_list found;
    auto gradients = stack[0].toTensorVector();
    for (size_t i = 0, next = 0; i < op.differentiable; ++i) {
      if (given[i]) found.push_back(wanted[i] ? gradients[next++] : at::Tensor());
    }
    found.emplace_back();  // of the arguments
    return found;
  }
};

// Nobody watches: what runs records its own gradient, which reuses what the forward has computed.
bool is_watched(c10::DispatchKeySet keys) {
  return keys.has_any(c10::DispatchKeySet({c10::DispatchKey::Python, c10::DispatchKey::Functionalize})) ||
         keys.has_backend(c10::BackendComponent::MetaBit);
}

template <const Operator& op>
void run_with_gradient(const c10::OperatorHandle& handle, c10::DispatchKeySet keys,
                       torch::jit::Stack* stack) {
  const Arguments arguments = torch::jit::pop(*stack, handle.schema().arguments().size());
  if (!is_watched(keys)) {
    torch::jit::push(*stack, op.run(arguments));
    return;
  }
  variable_list inputs;
  for (size_t i = 0; i < op.differentiable; ++i) {
    if (arguments[i].isTensor()) inputs.push_back(arguments[i].toTensor());
  }
  torch::jit::push(*stack, VisibleNode<op>::apply(at::TensorList(inputs), arguments));
}

template <const Operator& op>
void add_gradients(torch::Library& library) {
  library.impl(op.name, torch::CppFunction::makeFromBoxedFunction<&run_with_gradient<op>>());
  library.impl(op.backward, torch::autograd::autogradNotImplementedFallback());
}

}  // namespace
}  // namespace fovea::registered

TORCH_LIBRARY_IMPL(fovea, Autograd, m) {
  using namespace fovea::registered;
  for_each_operator([&]<const Operator & op>() { add_gradients<op>(m); });
}
