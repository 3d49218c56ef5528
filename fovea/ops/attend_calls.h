#pragma once
#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/variable.h>

#include "fovea/kernels/attend_args.h"
#include "fovea/ops/attend.h"
#include "fovea/ops/attend_composed.h"

// What the fused kernels of attend() and its kin are called with, and the tensors behind it.

namespace fovea {

/// What a backward needs of its forward, beside the arguments.
struct AttendSaved {
  at::Tensor lse, unrounded;  // (B, H, N) and (B, H, N, Dv), float32
};

at::Tensor empty_output(const at::Tensor& q, const at::Tensor& v);

/// Room for what `options` ask of the kernel beside `out`, and for all of it where a backward follows.
AttendSaved room_for(const at::Tensor& out, const AttendOptions& options, bool backward);

/// q, k, v with unit stride; what is defined of `saved` will be filled. All must live until the kernel has
/// run. Scale, programs and dropout are the caller's to set.
kernels::ForwardArgs forward_args(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                  const at::Tensor& out, const AttendSaved& saved);

/// As autograd gives them for outputs (out, lse), undefined ones included.
OutputGradients output_gradients(const torch::autograd::variable_list& grads, const at::Tensor& q,
                                 const at::Tensor& v);

/// Scale, programs, dropout and chunk are the caller's to set.
struct BackwardCall {
  at::Tensor q, k, v, grad_out, grad_lse;  // contiguous, or with unit stride
  at::Tensor grad_q, grad_k, grad_v;
  kernels::BackwardArgs args;
};

/// qkv: q, k, v, and what else there may be. `saved` must live until the kernel has run.
BackwardCall backward_call(const torch::autograd::variable_list& qkv, const OutputGradients& grads,
                           const AttendSaved& saved);

}  // namespace fovea
