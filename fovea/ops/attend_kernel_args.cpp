#include "fovea/ops/attend_kernel_args.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "fovea/ops/attend_similarity.h"
#include "fovea/ops/option_tensors.h"

namespace fovea {

std::optional<std::string_view> why_not_kernel(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                               const AttendOptions& options) {
  constexpr int64_t kWidest = 256;
  const auto width_fits = [](const at::Tensor& t) { return t.size(3) >= 1 && t.size(3) <= kWidest; };
  const auto given = tensors_of(options);
  if (!is_plain(q) || !is_plain(k) || !is_plain(v) || !std::all_of(given.begin(), given.end(), is_plain)) {
    return "the tensors are not plain tensors on the CPU";
  }
  if (!kernel_type(q.scalar_type())) return "the type is not float32, bfloat16 or float16";
  if (!width_fits(q) || !width_fits(v)) return "a head size is not in 1 ... 256";
  if (std::max(q.size(2), k.size(2)) >= kLongestKernel) return "a length is not below 2^29";
  if (options.functors && at::GradMode::is_enabled() && options.functors->needs_definition()) {
    return "a functor's table wants a gradient";
  }
  return std::nullopt;
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

bool wants_gradient(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const AttendOptions& options) {
  if (!at::GradMode::is_enabled()) return false;
  const auto wants = [](const at::Tensor& t) { return t.requires_grad(); };
  if (wants(q) || wants(k) || wants(v)) return true;
  const auto given = tensors_of(options);
  return std::any_of(given.begin(), given.end(), wants);
}

bool is_plain(const at::Tensor& t) {
  return t.is_cpu() && t.layout() == at::kStrided && !t.is_neg() && !t._is_zerotensor() &&
         !t._fw_grad(/*level=*/0).defined();
}

at::Tensor with_unit_stride(const at::Tensor& t) {
  return t.stride(3) == 1 || t.size(3) == 1 ? t : t.contiguous();
}

kernels::Operand operand(const at::Tensor& t) {
  return {t.const_data_ptr(), t.stride(0), t.stride(1), t.stride(2)};
}

kernels::Output output(const at::Tensor& t) {
  return {t.mutable_data_ptr(), t.stride(0), t.stride(1), t.stride(2)};
}

kernels::AttendSizes sizes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  return {q.size(0), q.size(1), k.size(1), q.size(2), k.size(2), q.size(3), v.size(3)};
}

float scale_of(const at::Tensor& q, const AttendOptions& options) {
  return static_cast<float>(product_scale(q, options));
}

std::vector<TileProgram> programs_of(const FunctorList& functors) {
  std::vector<TileProgram> programs;
  for (const auto& step : functors) programs.push_back(step->program());
  return programs;
}

}  // namespace fovea
