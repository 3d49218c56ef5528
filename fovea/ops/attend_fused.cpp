#include "fovea/ops/attend_fused.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "fovea/kernels/attend_args.h"
#include "fovea/ops/attend_composed.h"
#include "fovea/ops/attend_functors.h"

namespace fovea {
namespace {

bool wants_gradient(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  return at::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad());
}

// Measured: batched products of small matrices beat tiles forward and backward up to about these lengths.
bool is_short(const at::Tensor& q, const at::Tensor& k) {
  return std::max(q.size(2), k.size(2)) <= (q.scalar_type() == at::kFloat ? 128 : 32);
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

kernels::Output output(const at::Tensor& t) {
  return {t.mutable_data_ptr(), t.stride(0), t.stride(1), t.stride(2)};
}

kernels::AttendSizes sizes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  return {q.size(0), q.size(1), k.size(1), q.size(2), k.size(2), q.size(3), v.size(3)};
}

float scale_of(const at::Tensor& q, const AttendOptions& options) {
  return static_cast<float>(options.scale.value_or(1.0 / std::sqrt(static_cast<double>(q.size(3)))));
}

TileProgram program_of(const AttendOptions& options) {
  static const Functors<Identity, Causal> causal{{}, Causal()};
  if (options.functors) return options.functors->program();
  return options.causal ? tile_program(causal) : TileProgram{};
}

// What the backward needs of the forward, beside its arguments.
struct Saved {
  at::Tensor lse, unrounded;  // (B, H, N) and (B, H, N, Dv), float32
};

// q, k, v with unit stride; `saved` may be null.
at::Tensor run_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       const AttendOptions& options, Saved* saved) {
  const at::Tensor out =
      at::empty({q.size(0), q.size(1), q.size(2), v.size(3)}, q.options().requires_grad(false));
  if (saved) {
    saved->lse = at::empty(out.sizes().slice(0, 3), out.options().dtype(at::kFloat));
    const bool exact = out.scalar_type() == at::kFloat;
    saved->unrounded = exact ? out : at::empty(out.sizes(), out.options().dtype(at::kFloat));
  }
  const bool rounds = saved && !saved->unrounded.is_same(out);
  kernels::attend_forward({.n = sizes(q, k, v),
                           .type = *kernel_type(q.scalar_type()),
                           .q = operand(q),
                           .k = operand(k),
                           .v = operand(v),
                           .out = output(out),
                           .lse = saved ? saved->lse.mutable_data_ptr<float>() : nullptr,
                           .unrounded = rounds ? saved->unrounded.mutable_data_ptr<float>() : nullptr,
                           .scale = scale_of(q, options),
                           .program = program_of(options)});
  return out;
}

torch::autograd::variable_list run_backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                            const at::Tensor& grad_out, const Saved& saved,
                                            const AttendOptions& options) {
  const at::Tensor rows_q = with_unit_stride(q), rows_k = with_unit_stride(k), rows_v = with_unit_stride(v),
                   rows_grad = with_unit_stride(grad_out);
  const auto contiguous = [](const at::Tensor& t) {
    return at::empty(t.sizes(), t.options().requires_grad(false));
  };
  const at::Tensor grad_q = contiguous(q), grad_k = contiguous(k), grad_v = contiguous(v);
  kernels::attend_backward({.n = sizes(q, k, v),
                            .type = *kernel_type(q.scalar_type()),
                            .q = operand(rows_q),
                            .k = operand(rows_k),
                            .v = operand(rows_v),
                            .grad_out = operand(rows_grad),
                            .lse = saved.lse.const_data_ptr<float>(),
                            .out = saved.unrounded.const_data_ptr<float>(),
                            .grad_q = output(grad_q),
                            .grad_k = output(grad_k),
                            .grad_v = output(grad_v),
                            .scale = scale_of(q, options),
                            .program = program_of(options)});
  return {grad_q, grad_k, grad_v};
}

// The kernel's backward has no derivative of its own: gradients of gradients come from the definition.
class FusedAttention : public torch::autograd::Function<FusedAttention> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v, const AttendOptions& options) {
    const at::Tensor rows_q = with_unit_stride(q), rows_k = with_unit_stride(k), rows_v = with_unit_stride(v);
    Saved saved;
    const at::Tensor out = run_forward(rows_q, rows_k, rows_v, options, &saved);
    context->save_for_backward({q, k, v, saved.lse, saved.unrounded});
    context->saved_data["options"] = at::IValue::make_capsule(c10::make_intrusive<KeptOptions>(options));
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    const auto capsule = context->saved_data["options"].toCapsule();
    const AttendOptions& options = static_cast<const KeptOptions&>(*capsule).options;
    const auto saved = context->get_saved_variables();
    auto found = at::GradMode::is_enabled()
                     ? differentiable_gradients(saved[0], saved[1], saved[2], grads[0], options)
                     : run_backward(saved[0], saved[1], saved[2], grads[0], {saved[3], saved[4]}, options);
    found.emplace_back();  // of the options
    return found;
  }

 private:
  struct KeptOptions : torch::CustomClassHolder {
    explicit KeptOptions(const AttendOptions& options) : options(options) {}
    AttendOptions options;
  };

  static torch::autograd::variable_list differentiable_gradients(const at::Tensor& q, const at::Tensor& k,
                                                                 const at::Tensor& v, const at::Tensor& grad,
                                                                 const AttendOptions& options) {
    torch::autograd::variable_list inputs, found(3);
    std::vector<size_t> places;
    const at::Tensor all[] = {q, k, v};
    for (size_t i = 0; i < 3; ++i) {
      if (!all[i].requires_grad()) continue;
      inputs.push_back(all[i]);
      places.push_back(i);
    }
    const auto gradients = torch::autograd::grad({attend_composed(q, k, v, options).out}, inputs, {grad},
                                                 /*retain_graph=*/true, /*create_graph=*/true);
    for (size_t i = 0; i < places.size(); ++i) found[places[i]] = gradients[i];
    return found;
  }
};

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
  if (options.functors && at::GradMode::is_enabled() && options.functors->wants_gradient()) {
    return "a functor's table wants a gradient";
  }
  if (is_short(q, k) && !options.functors && wants_gradient(q, k, v)) {
    return "with gradients, the definition is faster at these lengths";
  }
  return std::nullopt;
}

AttendResult attend_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const AttendOptions& options) {
  if (wants_gradient(q, k, v)) return {FusedAttention::apply(q, k, v, options), {}};
  return {run_forward(with_unit_stride(q), with_unit_stride(k), with_unit_stride(v), options, nullptr), {}};
}

}  // namespace fovea
