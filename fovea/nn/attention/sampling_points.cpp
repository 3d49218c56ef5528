#include "fovea/nn/attention/sampling_points.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/full.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <torch/nn/init.h>

#include <numbers>

#include "fovea/ops/operands.h"

namespace fovea::nn {
namespace {

// directions (H, 2) -> (H, L, P, 2)
at::Tensor rays(const at::Tensor& directions, int64_t levels, int64_t points) {
  const at::Tensor reach = at::arange(1, points + 1, at::kFloat).view({1, 1, points, 1});
  return (directions.view({-1, 1, 1, 2}) * reach).expand({-1, levels, -1, -1}).contiguous();
}

}  // namespace

at::Tensor star_offsets(int64_t heads, int64_t levels, int64_t points) {
  const at::Tensor angle =
      at::arange(heads, at::kFloat) * (2 * std::numbers::pi / static_cast<double>(heads));
  const at::Tensor direction = at::stack({at::cos(angle), at::sin(angle)}, -1);
  return rays(direction / direction.abs().amax(-1, true), levels, points);
}

at::Tensor line_offsets(int64_t heads, int64_t levels, int64_t points) {
  const at::Tensor side = 1 - 2 * at::arange(heads, at::kFloat).remainder(2);
  return rays(at::stack({side, at::zeros_like(side)}, -1), levels, points);
}

void start_points(Linear& sampling_offsets, Linear& attention_weights, const at::Tensor& offsets) {
  const torch::NoGradGuard no_grad;
  torch::nn::init::zeros_(sampling_offsets->weight);
  sampling_offsets->bias.copy_(offsets.flatten());
  torch::nn::init::zeros_(attention_weights->weight);
  torch::nn::init::zeros_(attention_weights->bias);
}

at::Tensor point_weights(const at::Tensor& scores, int64_t heads, int64_t levels) {
  const int64_t all = scores.size(2) / heads;
  return at::softmax(scores.unflatten(2, {heads, all}), -1)
      .unflatten(3, {levels, all / levels})
      .transpose(1, 2);
}

// In bfloat16 the places of a long map would be places off.
at::Tensor sampling_locations(const at::Tensor& given_reference, const at::Tensor& given_offsets,
                              const std::vector<MapShape>& maps) {
  const at::Tensor reference = widened(given_reference), offsets = widened(given_offsets);
  const at::Tensor centre = reference.narrow(-1, 0, 2).unsqueeze(2).unsqueeze(4);  // (B, N, 1, L, 1, 2)
  if (reference.size(-1) == 4) {
    const at::Tensor side = reference.narrow(-1, 2, 2).unsqueeze(2).unsqueeze(4);
    return (centre + offsets * side * (0.5 / static_cast<double>(offsets.size(4)))).transpose(1, 2);
  }
  const at::TensorOptions numbers = offsets.options().requires_grad(false);
  std::vector<at::Tensor> sizes;
  for (const MapShape& map : maps) {
    sizes.push_back(at::full({1}, static_cast<double>(map.columns), numbers));
    sizes.push_back(at::full({1}, static_cast<double>(map.rows), numbers));
  }
  const at::Tensor size = at::cat(sizes).view({1, 1, 1, static_cast<int64_t>(maps.size()), 1, 2});
  return (centre + offsets / size).transpose(1, 2);
}

}  // namespace fovea::nn
