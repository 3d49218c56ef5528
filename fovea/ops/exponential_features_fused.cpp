#include "fovea/ops/exponential_features_fused.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "fovea/core/ceil_div.h"
#include "fovea/kernels/exponential_args.h"
#include "fovea/ops/attend_composed.h"
#include "fovea/ops/attend_kernel_args.h"
#include "fovea/ops/exponential_features_composed.h"

namespace fovea {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

kernels::ExponentialSizes sizes_of(const at::Tensor& x, const at::Tensor& directions) {
  return {x.size(0), x.size(1), x.size(2), x.size(3), directions.size(0)};
}

// (rows, columns) with columns up to a multiple of 16, 0 there.
at::Tensor in_whole_vectors(const at::Tensor& t) {
  at::Tensor whole = at::zeros({t.size(0), round_up(t.size(1), 16)}, t.options());
  whole.narrow(1, 0, t.size(1)).copy_(t);
  return whole;
}

at::Tensor empty_features(const at::Tensor& x, const at::Tensor& directions) {
  return at::empty({x.size(0), x.size(1), x.size(2), directions.size(0)}, x.options().requires_grad(false));
}

at::Tensor run_queries(const at::Tensor& x, const at::Tensor& directions, double scale) {
  const at::Tensor rows = with_unit_stride(x), columns = in_whole_vectors((directions * scale).t()),
                   out = empty_features(x, directions);
  kernels::query_exponentials({.n = sizes_of(x, directions),
                               .x = operand(rows),
                               .directions = columns.const_data_ptr<float>(),
                               .out = output(out)});
  return out;
}

KeyExponentials run_keys(const at::Tensor& x, const at::Tensor& directions, double scale,
                         const at::Tensor& hidden, const at::Tensor& least) {
  const at::Tensor rows = with_unit_stride(x), columns = in_whole_vectors((directions * scale).t());
  const at::Tensor of_rows =
      at::empty({x.size(0), x.size(1), x.size(2), 1}, x.options().requires_grad(false));
  at::Tensor out = empty_features(x, directions);
  const auto n = sizes_of(x, directions);
  kernels::feature_powers({.n = n,
                           .x = operand(rows),
                           .directions = columns.const_data_ptr<float>(),
                           .norm = static_cast<float>(0.5 * scale * scale),
                           .out = output(out),
                           .largest = of_rows.mutable_data_ptr<float>()});
  const at::Tensor largest = largest_of_heads(of_rows, hidden, least).contiguous();
  kernels::exponentiate(n, output(out), largest.const_data_ptr<float>());
  if (hidden.defined()) out.masked_fill_(hidden, 0.0);
  return {out, largest};
}

at::Tensor run_backward(const at::Tensor& x, const at::Tensor& directions, double scale, double norm,
                        const at::Tensor& features, const at::Tensor& grad) {
  const at::Tensor rows = with_unit_stride(x), given = with_unit_stride(grad),
                   whole = in_whole_vectors(directions * scale);
  at::Tensor grad_x = at::empty(x.sizes(), x.options().requires_grad(false));
  kernels::exponential_gradients({.n = sizes_of(x, directions),
                                  .x = operand(rows),
                                  .features = operand(features),
                                  .grad = operand(given),
                                  .directions = whole.const_data_ptr<float>(),
                                  .norm = static_cast<float>(norm),
                                  .grad_x = output(grad_x)});
  return grad_x;
}

class FusedQueries : public torch::autograd::Function<FusedQueries> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& directions,
                            double scale) {
    const at::Tensor features = run_queries(x, directions, scale);
    context->save_for_backward({x, directions, features});
    context->saved_data["scale"] = scale;
    return features;
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const double scale = context->saved_data["scale"].toDouble();
    if (!at::GradMode::is_enabled()) {
      return {run_backward(saved[0], saved[1], scale, /*norm=*/0.0, saved[2], grads[0]), {}, {}};
    }
    const at::Tensor out = query_exponentials_composed(saved[0], saved[1], scale);
    return {composed_gradients({out, {}, {}}, {saved[0]}, {grads[0], {}})[0], {}, {}};
  }
};

// Tensors that apply() does not take among its arguments.
struct MayBeUndefined {
  at::Tensor hidden, least;
};

class FusedKeys : public torch::autograd::Function<FusedKeys> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& directions,
                               double scale, const MayBeUndefined& t) {
    const KeyExponentials result = run_keys(x, directions, scale, t.hidden, t.least);
    context->save_for_backward({x, directions, t.hidden, t.least, result.features});
    context->saved_data["scale"] = scale;
    context->mark_non_differentiable({result.largest});
    return {result.features, result.largest};
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const double scale = context->saved_data["scale"].toDouble();
    at::Tensor grad_x;
    if (at::GradMode::is_enabled()) {
      const at::Tensor out =
          key_exponentials_composed(saved[0], saved[1], scale, saved[2], saved[3]).features;
      grad_x = composed_gradients({out, {}, {}}, {saved[0]}, {grads[0], {}})[0];
    } else {
      grad_x = run_backward(saved[0], saved[1], scale, 0.5 * scale * scale, saved[4], grads[0]);
    }
    return {grad_x, {}, {}, {}};
  }
};

bool learns(const at::Tensor& x) { return x.requires_grad() && at::GradMode::is_enabled(); }

}  // namespace

bool has_exponential_kernel(const at::Tensor& x, const at::Tensor& directions) {
  const auto fits = [](const at::Tensor& t, int64_t dim) {
    return is_plain(t) && t.scalar_type() == at::kFloat && t.dim() == dim && t.numel() > 0;
  };
  return fits(x, 4) && fits(directions, 2) && directions.size(1) == x.size(3) && !directions.requires_grad();
}

at::Tensor query_exponentials_fused(const at::Tensor& x, const at::Tensor& directions, double scale) {
  return learns(x) ? FusedQueries::apply(x, directions, scale) : run_queries(x, directions, scale);
}

KeyExponentials key_exponentials_fused(const at::Tensor& x, const at::Tensor& directions, double scale,
                                       const at::Tensor& hidden, const at::Tensor& least) {
  if (!learns(x)) return run_keys(x, directions, scale, hidden, least);
  const variable_list found = FusedKeys::apply(x, directions, scale, MayBeUndefined{hidden, least});
  return {found[0], found[1]};
}

}  // namespace fovea
