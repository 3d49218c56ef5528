#include "fovea/ops/linear_attend_fused.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include "fovea/kernels/linear_args.h"
#include "fovea/ops/attend_composed.h"
#include "fovea/ops/attend_kernel_args.h"
#include "fovea/ops/elu_features.h"
#include "fovea/ops/linear_attend_composed.h"

namespace fovea {
namespace {

using kernels::LinearFeatures;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

kernels::LinearSizes sizes_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              CausalAlignment causal) {
  return {q.size(0), q.size(1), k.size(1), q.size(2),
          k.size(2), q.size(3), v.size(3), causal_shift(causal, q.size(2), k.size(2))};
}

// What tensors do not say.
struct Call {
  CausalAlignment causal;
  bool normalised;
  LinearFeatures features;
};

struct Forward {
  at::Tensor out;
  /// (B, H, N); undefined where nothing was divided.
  at::Tensor reciprocals;
};

Forward run_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Call& call) {
  const auto floats = q.options().requires_grad(false);
  Forward result{at::empty({q.size(0), q.size(1), q.size(2), v.size(3)}, floats), {}};
  if (call.normalised) result.reciprocals = at::empty({q.size(0), q.size(1), q.size(2)}, floats);
  const at::Tensor rows_q = with_unit_stride(q), rows_k = with_unit_stride(k), rows_v = with_unit_stride(v);
  kernels::linear_forward(
      {.n = sizes_of(q, k, v, call.causal),
       .features = call.features,
       .q = operand(rows_q),
       .k = operand(rows_k),
       .v = operand(rows_v),
       .out = output(result.out),
       .reciprocals = call.normalised ? result.reciprocals.mutable_data_ptr<float>() : nullptr});
  return result;
}

// By q, k and v, which are `inputs`.
variable_list run_backward(const variable_list& inputs, const Forward& forward, const at::Tensor& grad,
                           const Call& call) {
  variable_list rows, found;
  for (const at::Tensor& input : inputs) {
    rows.push_back(with_unit_stride(input));
    found.push_back(at::empty(input.sizes(), input.options().requires_grad(false)));
  }
  const at::Tensor given = with_unit_stride(grad);
  kernels::linear_backward(
      {.n = sizes_of(inputs[0], inputs[1], inputs[2], call.causal),
       .features = call.features,
       .q = operand(rows[0]),
       .k = operand(rows[1]),
       .v = operand(rows[2]),
       .out = operand(forward.out),
       .grad_out = operand(given),
       .reciprocals = forward.reciprocals.defined() ? forward.reciprocals.const_data_ptr<float>() : nullptr,
       .grad_q = output(found[0]),
       .grad_k = output(found[1]),
       .grad_v = output(found[2])});
  return found;
}

// Differentiable twice.
at::Tensor by_definition(const variable_list& inputs, const Call& call) {
  LinearAttendOptions options;
  options.causal = call.causal;
  options.normalised = call.normalised;
  const auto features = [&](const at::Tensor& t) {
    return call.features == LinearFeatures::elu ? elu_features(t) : t;
  };
  return linear_attend_composed(features(inputs[0]), features(inputs[1]), inputs[2], options).out;
}

class FusedLinear : public torch::autograd::Function<FusedLinear> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, int64_t causal, bool normalised, int64_t features) {
    const Forward result = run_forward(q, k, v, call_of(causal, normalised, features));
    context->save_for_backward({q, k, v, result.out, result.reciprocals});
    context->saved_data["causal"] = causal;
    context->saved_data["features"] = features;
    return result.out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const variable_list inputs(saved.begin(), saved.begin() + 3);
    const Forward result{saved[3], saved[4]};
    const Call call = call_of(context->saved_data["causal"].toInt(), result.reciprocals.defined(),
                              context->saved_data["features"].toInt());
    variable_list found;
    if (at::GradMode::is_enabled()) {
      found = composed_gradients({by_definition(inputs, call), {}, {}}, inputs, {grads[0], {}});
    } else {
      found = run_backward(inputs, result, grads[0], call);
    }
    found.resize(6);
    return found;
  }

 private:
  static Call call_of(int64_t causal, bool normalised, int64_t features) {
    return {static_cast<CausalAlignment>(causal), normalised, static_cast<LinearFeatures>(features)};
  }
};

}  // namespace

Refusal why_not_linear_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             CausalAlignment causal) {
  if (!is_plain(q) || !is_plain(k) || !is_plain(v)) return "an operand is not a plain tensor of the CPU";
  if (q.scalar_type() == at::kDouble) return "features are float64";
  if (causal == CausalAlignment::none) return "without causal order two products are all";
  if (q.numel() == 0 || k.numel() == 0 || v.numel() == 0) return "there is nothing to sum";
  return std::nullopt;
}

at::Tensor linear_attend_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               CausalAlignment causal, bool normalised, LinearFeatures features) {
  const bool learns = q.requires_grad() || k.requires_grad() || v.requires_grad();
  if (!learns || !at::GradMode::is_enabled()) {
    return run_forward(q, k, v, {causal, normalised, features}).out;
  }
  return FusedLinear::apply(q, k, v, static_cast<int64_t>(causal), normalised,
                            static_cast<int64_t>(features));
}

}  // namespace fovea
