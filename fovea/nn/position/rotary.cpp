#include "fovea/nn/position/rotary.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/stack.h>

#include <utility>
#include <vector>

#include "fovea/ops/operands.h"

namespace fovea::nn {
namespace {

// Numbers (..., 2 R), turned by (T, R).
at::Tensor turn_pairs(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                      RotaryLayout layout) {
  const bool half = layout == RotaryLayout::half;
  const auto pairs = half ? x.chunk(2, -1) : x.unflatten(-1, {-1, 2}).unbind(-1);
  const std::vector<at::Tensor> turned = {pairs[0] * cos - pairs[1] * sin, pairs[1] * cos + pairs[0] * sin};
  return half ? at::cat(turned, -1) : at::stack(turned, -1).flatten(-2);
}

}  // namespace

RotaryPosition::RotaryPosition(PositionKind kind, const PositionShape& shape, const RotaryOptions& options)
    : Position(std::move(kind), shape), layout_(options.layout) {
  const int64_t size = options.size.value_or(shape.head_dim);
  if (size % 2 != 0 || size > shape.head_dim) {
    refuse("the numbers that are turned must be even and no more than a head has",
           std::to_string(size) + " of " + std::to_string(shape.head_dim), "Choose another size or heads.");
  }
  frequencies_ = rotary_frequencies(options, size);
}

at::Tensor RotaryPosition::turned(const at::Tensor& x, const at::Tensor& positions) const {
  const auto pairs = static_cast<int64_t>(frequencies_.angles.size()), size = 2 * pairs;
  // from_blob() wants what it may write to.
  std::vector<double> angles = frequencies_.angles;
  const at::Tensor each = at::from_blob(angles.data(), {pairs}, at::kDouble).clone().to(x.device());
  const at::Tensor angle = positions.to(x.device(), at::kDouble).unsqueeze(1) * each;
  const at::Tensor wide = widened(x.narrow(3, 0, size));
  const auto as_wide = [&](const at::Tensor& t) {
    return (t * frequencies_.amplitude).to(wide.scalar_type());
  };
  const at::Tensor out =
      turn_pairs(wide, as_wide(angle.cos()), as_wide(angle.sin()), layout_).to(x.scalar_type());
  const int64_t rest = x.size(3) - size;
  return rest == 0 ? out : at::cat({out, x.narrow(3, size, rest)}, 3);
}

void RotaryPosition::place(AttentionInput& input) const {
  const at::Tensor positions =
      at::arange(input.q.size(2), input.q.options().dtype(at::kDouble).requires_grad(false));
  input.q = turned(input.q, positions);
  input.k = turned(input.k, positions);
}

PositionEntry rotary_position() {
  return position_entry<RotaryPosition>(
      {"rotary", "q_t' = R(t) q_t, k_t' = R(t) k_t; R(t) turns pair i by t base^(-2i / D)",
       "RoFormer (Su et al. 2021), 3.2 and 3.4.2",
       "no: but with scaling=linear, llama3 or yarn, after a short training"},
      {.place = PositionPlace::queries_and_keys}, RotaryOptions{});
}

}  // namespace fovea::nn
