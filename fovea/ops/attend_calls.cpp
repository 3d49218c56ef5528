#include "fovea/ops/attend_calls.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>

#include "fovea/ops/attend_kernel_args.h"

namespace fovea {
namespace {

at::Tensor contiguous_like(const at::Tensor& t) {
  return at::empty(t.sizes(), t.options().requires_grad(false));
}

}  // namespace

at::Tensor empty_output(const at::Tensor& q, const at::Tensor& v) {
  return at::empty({q.size(0), q.size(1), q.size(2), v.size(3)}, q.options().requires_grad(false));
}

AttendSaved room_for(const at::Tensor& out, const AttendOptions& options, bool backward) {
  const auto floats = out.options().dtype(at::kFloat);
  AttendSaved saved;
  if (backward || options.lse) saved.lse = at::empty(out.sizes().slice(0, 3), floats);
  if (backward) saved.unrounded = out.scalar_type() == at::kFloat ? out : at::empty(out.sizes(), floats);
  return saved;
}

kernels::ForwardArgs forward_args(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                  const at::Tensor& out, const AttendSaved& saved) {
  const bool rounds = saved.unrounded.defined() && !saved.unrounded.is_same(out);
  return {.n = sizes(q, k, v),
          .type = *kernel_type(q.scalar_type()),
          .q = operand(q),
          .k = operand(k),
          .v = operand(v),
          .out = output(out),
          .lse = saved.lse.defined() ? saved.lse.mutable_data_ptr<float>() : nullptr,
          .unrounded = rounds ? saved.unrounded.mutable_data_ptr<float>() : nullptr,
          .scale = 1.0f,
          .programs = {},
          .dropout = {},
          .normaliser = {}};
}

OutputGradients output_gradients(const torch::autograd::variable_list& grads, const at::Tensor& q,
                                 const at::Tensor& v) {
  const bool given = grads[0].defined() && !grads[0]._is_zerotensor();
  return {given ? grads[0].resolve_neg() : at::zeros_like(empty_output(q, v)),
          grads[1].defined() ? grads[1].resolve_neg() : grads[1]};
}

BackwardCall backward_call(const torch::autograd::variable_list& qkv, const OutputGradients& grads,
                           const AttendSaved& saved) {
  BackwardCall call;
  call.q = with_unit_stride(qkv[0]);
  call.k = with_unit_stride(qkv[1]);
  call.v = with_unit_stride(qkv[2]);
  call.grad_out = with_unit_stride(grads.out);
  if (grads.lse.defined()) call.grad_lse = grads.lse.contiguous();
  call.grad_q = contiguous_like(call.q);
  call.grad_k = contiguous_like(call.k);
  call.grad_v = contiguous_like(call.v);
  call.args = {.n = sizes(call.q, call.k, call.v),
               .type = *kernel_type(call.q.scalar_type()),
               .q = operand(call.q),
               .k = operand(call.k),
               .v = operand(call.v),
               .grad_out = operand(call.grad_out),
               .lse = saved.lse.const_data_ptr<float>(),
               .out = saved.unrounded.const_data_ptr<float>(),
               .grad_lse = grads.lse.defined() ? call.grad_lse.const_data_ptr<float>() : nullptr,
               .grad_q = output(call.grad_q),
               .grad_k = output(call.grad_k),
               .grad_v = output(call.grad_v),
               .scale = 1.0f,
               .programs = {},
               .dropout = {},
               .normaliser = {}};
  return call;
}

}  // namespace fovea
