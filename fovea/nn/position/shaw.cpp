#include "fovea/nn/position/shaw.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <utility>

#include "fovea/ops/operands.h"

namespace fovea::nn {

ShawPosition::ShawPosition(PositionKind kind, const PositionShape& shape, const ShawOptions& options)
    : Position(std::move(kind), shape), reach_(options.max_distance) {
  const auto vectors = [&](int64_t size) {
    return at::randn({2 * reach_ + 1, size}) / std::sqrt(static_cast<double>(size));
  };
  w_K = register_parameter("w_K", vectors(shape.head_dim));
  if (options.values) w_V = register_parameter("w_V", vectors(shape.value_dim));
}

void ShawPosition::place(AttentionInput& input) const {
  if (input.call.relative_keys)
    refuse("relative keys are given once", "those of the call", "Leave them out.");
  input.call.relative_keys = w_K.unsqueeze(0);
}

at::Tensor ShawPosition::by_distance(const at::Tensor& weights) const {
  const int64_t queries = weights.size(2), keys = weights.size(3);
  const auto options = weights.options().requires_grad(false);
  const auto whole = options.dtype(at::kLong);
  const at::Tensor distance = at::arange(keys, whole) - at::arange(queries, whole).unsqueeze(1);
  const at::Tensor entry = (distance.clamp(-reach_, reach_) + reach_).expand(weights.sizes());
  return at::zeros({weights.size(0), weights.size(1), queries, 2 * reach_ + 1}, options)
      .scatter_add(3, entry, weights);
}

AttentionOutput ShawPosition::run(Attention& attention, AttentionInput input) {
  if (!w_V.defined()) return Position::run(attention, std::move(input));
  const bool shown = std::exchange(input.call.weights, true);
  AttentionOutput result = Position::run(attention, std::move(input));
  const at::Tensor sums = by_distance(widened(result.weights));
  result.out = result.out + at::matmul(sums, w_V.to(sums.scalar_type())).to(result.out.scalar_type());
  if (!shown) result.weights = at::Tensor();
  return result;
}

PositionEntry shaw_position() {
  return position_entry<ShawPosition>(
      {"shaw",
       "s_ij = scale q_i . (k_j + w_K[clip(j - i)]), out_i = sum_j weights_ij (v_j + w_V[clip(j - i)])",
       "Shaw et al. 2018, 3.1 to 3.3", "somewhat: positions beyond max_distance share a vector"},
      {.place = PositionPlace::scores_and_values, .relative_keys = true, .per_layer = true}, ShawOptions{});
}

}  // namespace fovea::nn
