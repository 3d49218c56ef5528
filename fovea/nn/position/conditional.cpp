#include "fovea/nn/position/conditional.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <torch/nn/modules/container/modulelist.h>

#include <utility>

#include "fovea/core/error.h"

namespace fovea::nn {

void ConditionalOptions::check(const std::string& where) const {
  if (kernel % 2 == 0) {
    throw usage_error(where, "the kernel must be odd, so that it has a middle", std::to_string(kernel),
                      "Choose 3, 5 or 7.");
  }
}

ConditionalPosition::ConditionalPosition(PositionKind kind, const PositionShape& shape,
                                         const ConditionalOptions& options)
    : Position(std::move(kind), shape),
      conv_(torch::nn::Conv2dOptions(shape.width, shape.width, options.kernel)
                .padding(options.kernel / 2)
                .groups(shape.width)) {
  register_module("proj", torch::nn::ModuleList())->push_back(conv_);
}

at::Tensor ConditionalPosition::embed(const at::Tensor& x) {
  const int64_t prefix = grid().prefix;
  const at::Tensor places = x.narrow(1, prefix, x.size(1) - prefix);
  const at::Tensor image = places.transpose(1, 2).unflatten(2, {grid().rows, grid().columns});
  const at::Tensor out = places + conv_->forward(image).flatten(2).transpose(1, 2);
  return prefix == 0 ? out : at::cat({x.narrow(1, 0, prefix), out}, 1);
}

PositionEntry conditional_position() {
  return position_entry<ConditionalPosition>(
      {"conditional", "x_t + depthwise_conv(x)_t on the grid, after the first layer",
       "CPVT (Chu et al. 2023), 3.2 and 3.3", "yes: a convolution fits any grid"},
      {.place = PositionPlace::embeddings, .needs_2d = true, .after_layers = 1}, ConditionalOptions{});
}

}  // namespace fovea::nn
