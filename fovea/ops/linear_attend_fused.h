#pragma once
#include "fovea/kernels/linear_args.h"
#include "fovea/ops/choice.h"
#include "fovea/ops/linear_attend.h"

namespace fovea {

/// Why the kernel cannot run a call of these queries, keys and values, of one type, half types widened
/// before, in which no key is hidden but by causal order.
Refusal why_not_linear_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             CausalAlignment causal);

/// The results of linear_attend(), (B, H, N, Dv), by its kernel: see kernels/linear_args.h. Differentiable;
/// gradients of gradients come from the definition.
at::Tensor linear_attend_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               CausalAlignment causal, bool normalised, kernels::LinearFeatures features);

}  // namespace fovea
