#include "fovea/ops/additive_attend_fused.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "fovea/kernels/additive_args.h"
#include "fovea/ops/additive_attend_composed.h"
#include "fovea/ops/attend_calls.h"
#include "fovea/ops/attend_composed.h"
#include "fovea/ops/attend_kernel_args.h"
#include "fovea/ops/call_functors.h"
#include "fovea/ops/unchanged.h"

namespace fovea {
namespace {

int64_t head_stride(const at::Tensor& w) { return w.dim() == 2 ? w.size(1) : 0; }

// What is defined of `saved` is filled.
void run_additive_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& w,
                          const AttendOptions& options, const at::Tensor& out, const AttendSaved& saved) {
  const at::Tensor rows_q = with_unit_stride(q), rows_k = with_unit_stride(k), rows_v = with_unit_stride(v),
                   weights = w.to(at::kFloat).contiguous();
  const FunctorList functors = call_functors(q, k, options, Tiles::plain);
  const auto programs = programs_of(functors);
  kernels::ForwardArgs args = forward_args(rows_q, rows_k, rows_v, out, saved);
  args.programs = programs;
  kernels::additive_forward({args, weights.const_data_ptr<float>(), head_stride(w)});
}

// By q, k, v and w, which are `inputs`.
torch::autograd::variable_list run_additive_backward(const torch::autograd::variable_list& inputs,
                                                     const OutputGradients& grads, const AttendSaved& saved,
                                                     const AttendOptions& options) {
  const at::Tensor &w = inputs[3], weights = w.to(at::kFloat).contiguous();
  const at::Tensor grad_w = at::empty(w.sizes(), weights.options().requires_grad(false));
  const FunctorList functors = call_functors(inputs[0], inputs[1], options, Tiles::transposed);
  const auto programs = programs_of(functors);
  BackwardCall call = backward_call(inputs, grads, saved);
  call.args.programs = programs;
  kernels::additive_backward(
      {call.args, weights.const_data_ptr<float>(), head_stride(w), grad_w.mutable_data_ptr<float>()});
  return {call.grad_q, call.grad_k, call.grad_v, grad_w.to(w.scalar_type())};
}

// The kernel's backward has no derivative of its own: gradients of gradients come from the definition.
class FusedAdditiveAttention : public torch::autograd::Function<FusedAdditiveAttention> {
 public:
  // out and lse.
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                                const at::Tensor& w, const AttendOptions& options) {
    const at::Tensor out = empty_output(q, v);
    const AttendSaved saved = room_for(out, options, /*backward=*/true);
    run_additive_forward(q, k, v, w, options, out, saved);
    context->save_for_backward({q, k, v, w, saved.lse, saved.unrounded});
    context->saved_data["call"] = at::IValue::make_capsule(c10::make_intrusive<Call>(options));
    context->set_materialize_grads(false);
    return {out, saved.lse};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    const auto capsule = context->saved_data["call"].toCapsule();
    const auto& call = static_cast<const Call&>(*capsule);
    call.unchanged.check("additive_attend");
    AttendOptions options = call.options;
    const auto saved = context->get_saved_variables();
    const torch::autograd::variable_list inputs(saved.begin(), saved.begin() + 4);
    const OutputGradients given = output_gradients(grads, inputs[0], inputs[2]);
    options.lse = given.lse.defined();
    auto found = at::GradMode::is_enabled()
                     ? composed_gradients(
                           additive_attend_composed(inputs[0], inputs[1], inputs[2], inputs[3], options),
                           inputs, given)
                     : run_additive_backward(inputs, given, {saved[4], saved[5]}, options);
    found.emplace_back();  // of the options
    return found;
  }

 private:
  struct Call : torch::CustomClassHolder {
    explicit Call(const AttendOptions& options) : options(options), unchanged(options) {}
    AttendOptions options;
    Unchanged unchanged;
  };
};

bool learns_more(const AttendOptions& options) { return wants_gradient({}, {}, {}, options); }

}  // namespace

std::optional<std::string_view> why_not_additive_fused(const at::Tensor& q, const at::Tensor& k,
                                                       const at::Tensor& v, const at::Tensor& w,
                                                       const AttendOptions& options) {
  if (const auto reason = why_not_kernel(q, k, v, options)) return reason;
  if (!is_plain(w)) return "w is not a plain tensor";
  if (options.dropout_p > 0.0) return "dropout is asked for";
  if (options.weights) return "the weights are asked for";
  if (!std::holds_alternative<Softmax>(options.normaliser)) return "the normaliser is not softmax";
  if (learns_more(options)) return "a bias, a table or a functor wants a gradient";
  // Measured: packing costs more than tiles save.
  if (std::min(q.size(2), k.size(2)) < 4) return "with fewer than 4 queries or keys the definition is faster";
  return std::nullopt;
}

AttendResult additive_attend_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                   const at::Tensor& w, const AttendOptions& options) {
  if (wants_gradient(q, k, v, {}) || wants_gradient(w, {}, {}, {})) {
    const auto outputs = FusedAdditiveAttention::apply(q, k, v, w, options);
    return {outputs[0], {}, options.lse ? outputs[1] : at::Tensor()};
  }
  const at::Tensor out = empty_output(q, v);
  const AttendSaved saved = room_for(out, options, /*backward=*/false);
  run_additive_forward(q, k, v, w, options, out, saved);
  return {out, {}, saved.lse};
}

}  // namespace fovea
