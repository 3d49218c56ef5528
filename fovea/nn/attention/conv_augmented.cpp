#include "fovea/nn/attention/conv_augmented.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "fovea/ops/relative_keys.h"

namespace fovea::nn {
namespace {

std::string in_text(const GridPositions& grid) {
  return std::to_string(grid.rows) + " x " + std::to_string(grid.columns) + " behind " +
         std::to_string(grid.prefix) + " tokens";
}

// 0 for the tokens before the grid.
at::Tensor behind_tokens(const at::Tensor& places, int64_t tokens) {
  return tokens == 0 ? places : at::constant_pad_nd(places, {0, 0, tokens, 0}, 0);
}

// (N, columns + rows): 1 at a place's column, and at its row.
at::Tensor place_of_keys(const GridPositions& grid, const at::TensorOptions& options) {
  const at::Tensor columns = at::eye(grid.columns, options).repeat({grid.rows, 1}),
                   rows = at::eye(grid.rows, options).repeat_interleave(grid.columns, 0);
  return behind_tokens(at::cat({columns, rows}, 1), grid.prefix);
}

}  // namespace

ConvAugmentedAttention::ConvAugmentedAttention(AttentionKind kind, const AttentionShape& shape,
                                               const EngineOptions& options)
    : EngineAttention(std::move(kind), shape, options) {
  if (!shape.grid) {
    refuse("positions must lie in a grid of rows and columns, for whose distances it learns keys",
           "a sequence without one", "Give rows and columns as `grid`.");
  }
  grid_ = *shape.grid;
  constexpr int64_t kMost = 65536;
  const auto fits = [](int64_t places) { return places >= 0 && places <= kMost; };
  if (!fits(grid_.rows) || !fits(grid_.columns)) {
    refuse("a grid has at most " + std::to_string(kMost) + " rows and columns", in_text(grid_),
           "Give the rows and columns of the input as `grid`.");
  }
  const auto draw = [&](int64_t places) {
    return at::randn({std::max<int64_t>(2 * places - 1, 0), shape.head_dim}) /
           std::sqrt(static_cast<double>(shape.head_dim));
  };
  key_rel_w = register_parameter("key_rel_w", draw(grid_.columns));
  key_rel_h = register_parameter("key_rel_h", draw(grid_.rows));
}

// (B, H, N, T): q_i . r_(t - t_i) for the T places of a line.
at::Tensor ConvAugmentedAttention::relative(const at::Tensor& q, GridAxis axis) const {
  const GridLines lines(grid_, axis);
  const at::Tensor& table = axis == GridAxis::rows ? key_rel_w : key_rel_h;
  const at::Tensor scores = relative_key_scores(lines.queries(q), table.unsqueeze(0), 1.0, lines.length());
  return behind_tokens(lines.join(scores, q.size(0)), grid_.prefix).to(q.scalar_type());
}

void ConvAugmentedAttention::prepare(AttentionInput& input, AttendOptions& options) const {
  const GridPositions& given = *input.grid;
  if (given.rows != grid_.rows || given.columns != grid_.columns || given.prefix != grid_.prefix) {
    refuse("the grid must be the one that it was built for", in_text(given) + ", built for " + in_text(grid_),
           "Build one for this grid.");
  }
  const at::Tensor keys = place_of_keys(grid_, input.k.options().requires_grad(false));
  // Before there are more of them.
  const auto channels = static_cast<double>(std::max<int64_t>(input.q.size(3), 1));
  options.scale = options.scale.value_or(1.0 / std::sqrt(channels));
  input.q = at::cat({input.q, relative(input.q, GridAxis::rows), relative(input.q, GridAxis::columns)}, 3);
  input.k = at::cat({input.k, keys.expand({input.k.size(0), input.k.size(1), -1, -1})}, 3);
}

AttentionCost ConvAugmentedAttention::cost(int64_t n, int64_t m, int64_t d) const {
  const int64_t more = grid_.rows + grid_.columns, wide = d + more;
  AttentionCost cost = EngineAttention::cost(n, m, d);
  cost.multiply_adds += more * pairs(n, m) + 2 * n * d * std::max<int64_t>(more - 1, 0);
  // Wider queries and keys, and the latter as the kernel reads them.
  cost.bytes += (n * wide + m * wide + m * more) * kFloatBytes;
  return cost;
}

AttentionEntry conv_augmented_attention() {
  return attention_entry<ConvAugmentedAttention>(
      {"conv_augmented", "softmax of q_i . (k_j + r^W_(x_j - x_i) + r^H_(y_j - y_i)) / sqrt(D)",
       "Bello et al. 2019, Attention augmented convolutional networks, 3.2",
       "O(N^2 (D + rows + columns)) time, O(N (D + rows + columns)) memory", "fused"},
      {.supports_cross = false, .needs_2d = true, .takes_packed = false}, DotOptions{});
}

}  // namespace fovea::nn
