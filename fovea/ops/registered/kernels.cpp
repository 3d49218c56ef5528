#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/library.h>

#include <optional>
#include <utility>
#include <vector>

#include "fovea/ops/registered/operators.h"

namespace fovea::registered {
namespace {

// Gradients belong to the dispatcher's autograd keys, so none are recorded here.
template <const Operator& op>
void run_without_gradient(const c10::OperatorHandle& handle, torch::jit::Stack* stack) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> results = op.run(torch::jit::pop(*stack, handle.schema().arguments().size()));
  for (at::Tensor& result : results) result = result.contiguous();
  torch::jit::push(*stack, std::move(results));
}

// Inside a kernel autograd's keys are switched off; the gradient is made of a graph of its own.
class AutogradInsideKernel {
  static c10::impl::LocalDispatchKeySet with_autograd() {
    auto keys = c10::impl::tls_local_dispatch_key_set();
    keys.excluded_ = keys.excluded_ - c10::autograd_dispatch_keyset_with_ADInplaceOrView;
    return keys;
  }
  c10::impl::ForceDispatchKeyGuard keys_{with_autograd()};
  at::AutoGradMode grad_mode_{true};
};

// Computes the results again and their gradients. Only where operators are traced, as under torch.compile:
// eager calls keep what the forward has computed (autograd.cpp).
template <const Operator& op>
void run_backward(const c10::OperatorHandle& handle, torch::jit::Stack* stack) {
  Arguments arguments = torch::jit::pop(*stack, handle.schema().arguments().size() - 2);
  const auto wanted = torch::jit::pop(*stack).toBoolList();
  const c10::List<std::optional<at::Tensor>> grads = torch::jit::pop(*stack).toOptionalTensorList();
  const AutogradInsideKernel autograd;
  std::vector<at::Tensor> inputs;
  for (size_t i = 0; i < op.differentiable; ++i) {
    if (!arguments[i].isTensor()) continue;
    arguments[i] = arguments[i].toTensor().detach().requires_grad_(wanted[i]);
    if (wanted[i]) inputs.push_back(arguments[i].toTensor());
  }
  std::vector<at::Tensor> results, given;
  const std::vector<at::Tensor> all = op.run(arguments);
  for (size_t i = 0; i < all.size(); ++i) {
    const std::optional<at::Tensor> grad = grads[i];
    if (!grad || !all[i].requires_grad()) continue;
    results.push_back(all[i]);
    given.push_back(*grad);
  }
  std::vector<at::Tensor> gradients(inputs.size());
  if (!results.empty()) {
    gradients = torch::autograd::grad(results, inputs, given, /*retain_graph=*/std::nullopt,
                                      /*create_graph=*/false, /*allow_unused=*/true);
  }
  // A result such as lse does not depend on every input.
  for (size_t i = 0; i < inputs.size(); ++i) {
    gradients[i] = gradients[i].defined() ? gradients[i].contiguous() : at::zeros_like(inputs[i]);
  }
  torch::jit::push(*stack, std::move(gradients));
}

template <const Operator& op>
void add_kernels(torch::Library& library) {
  library.impl(op.name, torch::CppFunction::makeFromBoxedFunction<&run_without_gradient<op>>());
  library.impl(op.backward, torch::CppFunction::makeFromBoxedFunction<&run_backward<op>>());
}

}  // namespace
}  // namespace fovea::registered

TORCH_LIBRARY_IMPL(fovea, CompositeExplicitAutograd, m) {
  using namespace fovea::registered;
  for_each_operator([&]<const Operator & op>() { add_kernels<op>(m); });
}
