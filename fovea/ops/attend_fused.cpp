#include "fovea/ops/attend_fused.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>

#include "fovea/kernels/attend_args.h"
#include "fovea/ops/attend_functors.h"

namespace fovea {
namespace {

bool wants_gradient(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const AttendOptions& options) {
  if (!at::GradMode::is_enabled()) return false;
  return q.requires_grad() || k.requires_grad() || v.requires_grad() ||
         (options.functors && options.functors->wants_gradient());
}

std::optional<kernels::Type> kernel_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return kernels::Type::f32;
    case at::kBFloat16:
      return kernels::Type::bf16;
    case at::kHalf:
      return kernels::Type::f16;
    default:
      return std::nullopt;
  }
}

// The kernel reads rows where they stand, if their numbers are neighbours.
at::Tensor with_unit_stride(const at::Tensor& t) {
  return t.stride(3) == 1 || t.size(3) == 1 ? t : t.contiguous();
}

kernels::Operand operand(const at::Tensor& t) {
  return {t.const_data_ptr(), t.stride(0), t.stride(1), t.stride(2)};
}

TileProgram program_of(const AttendOptions& options) {
  static const Functors<Identity, Causal> causal{{}, Causal()};
  if (options.functors) return options.functors->program();
  return options.causal ? tile_program(causal) : TileProgram{};
}

}  // namespace

std::optional<std::string> why_not_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                         const AttendOptions& options) {
  constexpr int64_t kWidest = 256, kLongest = int64_t{1} << 29;
  const auto width_fits = [](const at::Tensor& t) { return t.size(3) >= 1 && t.size(3) <= kWidest; };
  if (!q.is_cpu() || q.layout() != at::kStrided) return "the tensors are not plain tensors on the CPU";
  if (!kernel_type(q.scalar_type())) return "the type is not float32, bfloat16 or float16";
  if (!width_fits(q) || !width_fits(v)) return "a head size is not in 1 ... 256";
  if (q.size(2) >= kLongest || k.size(2) >= kLongest) return "a length is not below 2^29";
  if (options.mask) return "a dense mask is given";
  if (options.bias) return "a dense bias is given";
  if (options.causal && options.functors)
    return "causal stands beside functors; put Causal{} into their mask";
  if (options.dropout_p > 0.0) return "dropout is asked for";
  if (options.weights) return "the weights are asked for";
  if (wants_gradient(q, k, v, options)) return "a gradient is wanted";
  return std::nullopt;
}

AttendResult attend_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const AttendOptions& options) {
  const at::Tensor rows_q = with_unit_stride(q), rows_k = with_unit_stride(k), rows_v = with_unit_stride(v);
  const at::Tensor out = at::empty({q.size(0), q.size(1), q.size(2), v.size(3)}, q.options());
  const double scale = options.scale.value_or(1.0 / std::sqrt(static_cast<double>(q.size(3))));
  kernels::attend_forward({.n = {q.size(0), q.size(1), k.size(1), q.size(2), k.size(2), q.size(3), v.size(3)},
                           .type = *kernel_type(q.scalar_type()),
                           .q = operand(rows_q),
                           .k = operand(rows_k),
                           .v = operand(rows_v),
                           .out = {out.mutable_data_ptr(), out.stride(0), out.stride(1), out.stride(2)},
                           .lse = nullptr,
                           .scale = static_cast<float>(scale),
                           .program = program_of(options)});
  return {out, {}};
}

}  // namespace fovea
