#include "fovea/ops/elu_features.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/relu.h>
#include <torch/csrc/autograd/custom_function.h>

#include "fovea/kernels/linear_args.h"
#include "fovea/ops/attend_kernel_args.h"

namespace fovea {
namespace {

at::Tensor by_kernel(const at::Tensor& x) {
  const at::Tensor rows = with_unit_stride(x);
  at::Tensor out = at::empty(x.sizes(), x.options().requires_grad(false));
  kernels::elu_features({x.size(0), x.size(1), x.size(2), x.size(3), operand(rows), output(out)});
  return out;
}

// The slope is 1 where x > 0, and the feature elsewhere.
class EluFeatures : public torch::autograd::Function<EluFeatures> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x) {
    const at::Tensor features = by_kernel(x);
    context->save_for_backward({features});
    return features;
  }
  // The saved features are an output: gradients of this go through them.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    const at::Tensor slopes = at::clamp_max(context->get_saved_variables()[0], 1.0);
    return {at::GradMode::is_enabled() ? grads[0] * slopes : slopes.mul_(grads[0])};
  }
};

}  // namespace

at::Tensor elu_features(const at::Tensor& x) {
  if (x.dim() != 4 || x.scalar_type() != at::kFloat || !is_plain(x)) {
    return at::clamp_max(x, 0.0).exp_() + at::relu(x);
  }
  return x.requires_grad() && at::GradMode::is_enabled() ? EluFeatures::apply(x) : by_kernel(x);
}

}  // namespace fovea
