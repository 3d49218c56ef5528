#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string_view>
#include <vector>

#include "fovea/kernels/attend_args.h"
#include "fovea/ops/call_functors.h"

// The arguments of attend() as its kernels take them.

namespace fovea {

/// Kernels count keys and queries in 32 bits, with room for differences: lengths are below this.
constexpr int64_t kLongestKernel = int64_t{1} << 29;

/// Why no kernel can read these operands, or run these functors; empty when one can. Arguments as attend(),
/// which has checked them.
std::optional<std::string_view> why_not_kernel(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                               const AttendOptions& options);

/// Empty when no kernel has the type.
std::optional<kernels::Type> kernel_type(at::ScalarType type);

/// Whether autograd asks for a gradient of q, k, v or what the steps of the call learn.
bool wants_gradient(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const AttendOptions& options);

/// Whether the numbers of a tensor stand in memory as they are: on the CPU, strided, not as the negated view
/// or the zeros without memory that torch makes, and without a tangent of forward differentiation.
bool is_plain(const at::Tensor& t);

/// `t` itself or a copy: kernels read rows where they stand, if their numbers are neighbours.
at::Tensor with_unit_stride(const at::Tensor& t);

/// A tensor of 4 dimensions with unit stride in the last.
kernels::Operand operand(const at::Tensor& t);
kernels::Output output(const at::Tensor& t);

kernels::AttendSizes sizes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

/// product_scale() as kernels take it.
float scale_of(const at::Tensor& q, const AttendOptions& options);

/// They live as long as the functors.
std::vector<TileProgram> programs_of(const FunctorList& functors);

}  // namespace fovea
