#include "fovea/ops/deformable_attend_fused.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "fovea/kernels/deformable_args.h"
#include "fovea/ops/attend_kernel_args.h"
#include "fovea/ops/deformable_attend_composed.h"

namespace fovea {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::vector<kernels::MapLevel> levels_of(const std::vector<MapShape>& maps) {
  std::vector<kernels::MapLevel> levels;
  int64_t first = 0;
  for (const MapShape& map : maps) {
    levels.push_back({first, map.rows, map.columns});
    first += map.rows * map.columns;
  }
  return levels;
}

kernels::DeformableSizes sizes_of(const at::Tensor& v, const at::Tensor& weights) {
  return {v.size(0), v.size(1), weights.size(2), v.size(2), weights.size(4), v.size(3)};
}

// (B, H, N, ...) -> (B, H, N, numbers) of float32, neighbours in a row.
at::Tensor point_rows(const at::Tensor& t) { return with_unit_stride(t.to(at::kFloat).flatten(3)); }

at::Tensor run_forward(const at::Tensor& v, const std::vector<MapShape>& maps, const at::Tensor& locations,
                       const at::Tensor& weights) {
  const at::Tensor values = with_unit_stride(v), places = point_rows(locations), shares = point_rows(weights);
  // Heads beside each other, as a projection wants them.
  const at::Tensor out =
      at::empty({v.size(0), weights.size(2), v.size(1), v.size(3)}, v.options().requires_grad(false))
          .transpose(1, 2);
  const auto levels = levels_of(maps);
  kernels::deformable_forward({.n = sizes_of(v, weights),
                               .levels = levels,
                               .type = *kernel_type(v.scalar_type()),
                               .v = operand(values),
                               .locations = operand(places),
                               .weights = operand(shares),
                               .out = output(out)});
  return out;
}

variable_list run_backward(const variable_list& inputs, const std::vector<MapShape>& maps,
                           const at::Tensor& grad) {
  const at::Tensor &v = inputs[0], &locations = inputs[1], &weights = inputs[2];
  const at::Tensor values = with_unit_stride(v), places = point_rows(locations), shares = point_rows(weights),
                   grad_out = with_unit_stride(grad.to(v.scalar_type()));
  const at::Tensor grad_v =
      at::empty({v.size(0), v.size(2), v.size(1), v.size(3)}, v.options()).transpose(1, 2);
  const auto floats = v.options().dtype(at::kFloat);
  const at::Tensor grad_locations = at::empty(places.sizes(), floats),
                   grad_weights = at::empty(shares.sizes(), floats);
  const auto levels = levels_of(maps);
  kernels::deformable_backward({.n = sizes_of(v, weights),
                                .levels = levels,
                                .type = *kernel_type(v.scalar_type()),
                                .v = operand(values),
                                .locations = operand(places),
                                .weights = operand(shares),
                                .grad_out = operand(grad_out),
                                .grad_v = output(grad_v),
                                .grad_locations = output(grad_locations),
                                .grad_weights = output(grad_weights)});
  return {grad_v, grad_locations.view(locations.sizes()).to(locations.scalar_type()),
          grad_weights.view(weights.sizes()).to(weights.scalar_type())};
}

// Undefined for inputs that want none.
variable_list definition_gradients(const variable_list& inputs, const std::vector<MapShape>& maps,
                                   const at::Tensor& grad) {
  variable_list wanted, found(inputs.size());
  for (const auto& input : inputs) {
    if (input.requires_grad()) wanted.push_back(input);
  }
  const at::Tensor out = deformable_attend_composed(inputs[0], maps, inputs[1], inputs[2]);
  const auto gradients = torch::autograd::grad({out}, wanted, {grad}, std::nullopt, /*create_graph=*/true,
                                               /*allow_unused=*/true);
  for (size_t i = 0, next = 0; i < inputs.size(); ++i) {
    if (inputs[i].requires_grad()) found[i] = gradients[next++];
  }
  return found;
}

class FusedDeformable : public torch::autograd::Function<FusedDeformable> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& v, const at::Tensor& locations,
                            const at::Tensor& weights, const std::vector<MapShape>& maps) {
    context->save_for_backward({v, locations, weights});
    context->saved_data["maps"] = at::IValue::make_capsule(c10::make_intrusive<Maps>(maps));
    return run_forward(v, maps, locations, weights);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto capsule = context->saved_data["maps"].toCapsule();
    const auto& maps = static_cast<const Maps&>(*capsule).maps;
    const auto saved = context->get_saved_variables();
    auto found = at::GradMode::is_enabled() ? definition_gradients(saved, maps, grads[0])
                                            : run_backward(saved, maps, grads[0]);
    found.emplace_back();  // of the maps
    return found;
  }

 private:
  struct Maps : torch::CustomClassHolder {
    explicit Maps(const std::vector<MapShape>& maps) : maps(maps) {}
    std::vector<MapShape> maps;
  };
};

}  // namespace

at::Tensor deformable_attend_fused(const at::Tensor& v, const std::vector<MapShape>& maps,
                                   const at::Tensor& locations, const at::Tensor& weights) {
  const bool learns = v.requires_grad() || locations.requires_grad() || weights.requires_grad();
  if (!learns || !at::GradMode::is_enabled()) return run_forward(v, maps, locations, weights);
  return FusedDeformable::apply(v, locations, weights, maps);
}

}  // namespace fovea
