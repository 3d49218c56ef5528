#pragma once
#include <ATen/ATen.h>

#include <memory>
#include <string>

#include "fovea/nn/attention/registry.h"
#include "fovea/nn/position/registry.h"

// Position schemes of small sizes, and calls for them.

namespace fovea::nn::schemes {

inline constexpr int64_t kHeads = 3, kSize = 4, kWidth = 12;

inline PositionShape shape() { return {{kHeads, kHeads, kSize, kSize, kWidth}, {}}; }

inline PositionShape grid(int64_t rows, int64_t columns, int64_t prefix = 0) {
  PositionShape of_grid = shape();
  of_grid.grid = GridPositions{rows, columns, prefix};
  return of_grid;
}

// In float64, with parameters that are all of the size of 1.
inline std::shared_ptr<Position> make_scheme(const std::string& text, const PositionShape& sizes = shape()) {
  auto scheme = parse_position(text).build(sizes);
  scheme->to(at::kDouble);
  const at::NoGradGuard no_grad;
  for (auto& p : scheme->parameters()) p.normal_();
  return scheme;
}

inline AttentionInput random_call(int64_t length) {
  AttentionInput input;
  for (at::Tensor* t : {&input.q, &input.k, &input.v}) {
    *t = at::randn({2, kHeads, length, kSize}, at::kDouble).requires_grad_();
  }
  return input;
}

inline std::shared_ptr<Attention> scheme_softmax() { return parse_attention("softmax").build(shape()); }

}  // namespace fovea::nn::schemes
