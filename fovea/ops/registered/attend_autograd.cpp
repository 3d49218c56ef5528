#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <optional>

#include "fovea/ops/registered/attend_arguments.h"

namespace fovea::registered {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

c10::OperatorHandle find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
}

using MaybeTensor = std::optional<at::Tensor>;

// A node of the graph made of two operators, which whoever watches operators can see.
class VisibleAttention : public torch::autograd::Function<VisibleAttention> {
 public:
  // The tensors that a gradient can reach are named beside `arguments`, as apply() looks for them by type.
  static variable_list forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                               const at::Tensor& v, const MaybeTensor& slopes, const MaybeTensor& bias,
                               const MaybeTensor& table, const Arguments& arguments) {
    static const auto attend = find("fovea::attend");
    const auto or_undefined = [](const MaybeTensor& t) { return t.value_or(at::Tensor()); };
    context->save_for_backward({q, k, v, or_undefined(slopes), or_undefined(bias), or_undefined(table)});
    Arguments rest(arguments.begin() + kDifferentiable, arguments.end());
    context->saved_data["rest"] = c10::ivalue::Tuple::create(std::move(rest));
    torch::jit::Stack stack = arguments;
    {
      const at::AutoDispatchBelowAutograd below;
      attend.callBoxed(&stack);
    }
    context->set_materialize_grads(false);
    return stack[0].toTensorVector();
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    static const auto attend_backward = find("fovea::attend_backward");
    const variable_list inputs = context->get_saved_variables();
    c10::List<bool> wanted;
    torch::jit::Stack tensors;
    // Edges of the graph are counted without the arguments that were left out.
    size_t edge = 0;
    for (const at::Tensor& input : inputs) {
      wanted.push_back(input.defined() && context->needs_input_grad(edge));
      edge += input.defined() ? 1 : 0;
      tensors.push_back(input.defined() ? c10::IValue(input) : c10::IValue());
    }
    c10::List<std::optional<at::Tensor>> given;
    for (const at::Tensor& grad : grads) {
      given.push_back(grad.defined() ? std::optional(grad) : std::nullopt);
    }
    torch::jit::Stack stack = {given, wanted};
    stack.insert(stack.end(), tensors.begin(), tensors.end());
    for (const c10::IValue& value : context->saved_data["rest"].toTupleRef().elements()) {
      stack.push_back(value);
    }
    attend_backward.callBoxed(&stack);
    variable_list found(kDifferentiable + 1);
    auto next = stack[0].toTensorVector();
    for (size_t i = 0, n = 0; i < kDifferentiable; ++i) {
      if (wanted[i]) found[i] = next[n++];
    }
    return found;
  }
};

// Nobody watches: fovea::attend records its own gradient, which reuses what the forward has computed.
bool is_watched(c10::DispatchKeySet keys) {
  return keys.has_any(c10::DispatchKeySet({c10::DispatchKey::Python, c10::DispatchKey::Functionalize})) ||
         keys.has_backend(c10::BackendComponent::MetaBit);
}

void attend_with_gradient(const c10::OperatorHandle&, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  const Arguments arguments = torch::jit::pop(*stack, argument_count());
  if (!is_watched(keys)) {
    torch::jit::push(*stack, run_attend(arguments));
    return;
  }
  const auto maybe = [&](size_t i) { return arguments[i].toOptional<at::Tensor>(); };
  torch::jit::push(*stack,
                   VisibleAttention::apply(arguments[0].toTensor(), arguments[1].toTensor(),
                                           arguments[2].toTensor(), maybe(3), maybe(4), maybe(5), arguments));
}

}  // namespace
}  // namespace fovea::registered

TORCH_LIBRARY_IMPL(fovea, Autograd, m) {
  using namespace fovea::registered;
  m.impl("attend", torch::CppFunction::makeFromBoxedFunction<&attend_with_gradient>());
  m.impl("attend_backward", torch::autograd::autogradNotImplementedFallback());
}
