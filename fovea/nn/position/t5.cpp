#include "fovea/nn/position/t5.h"

#include <torch/nn/init.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "fovea/ops/t5_buckets.h"

namespace fovea::nn {

T5Position::T5Position(PositionKind kind, const PositionShape& shape, const T5PositionOptions& options)
    : Position(std::move(kind), shape), options_(options) {
  relative_attention_bias =
      register_module("relative_attention_bias", torch::nn::Embedding(options.num_buckets, shape.heads));
  const auto width = static_cast<double>(std::max<int64_t>(shape.width, 1));
  torch::nn::init::normal_(relative_attention_bias->weight, 0.0, 1.0 / std::sqrt(width));
  // Buckets that do not go together are refused here, not by the first call.
  relative_table(options.bidirectional != T5Sides::one);
}

at::Tensor T5Position::relative_table(bool bidirectional) const {
  return t5_relative_table(relative_attention_bias->weight, {bidirectional, options_.max_distance});
}

void T5Position::place(AttentionInput& input) const {
  if (input.call.relative_table) {
    refuse("a table of distances is given once", "relative_table of the call", "Leave it out.");
  }
  const bool causal = input.call.causal != CausalAlignment::none;
  input.call.relative_table = relative_table(options_.bidirectional == T5Sides::both ||
                                             (options_.bidirectional == T5Sides::of_call && !causal));
}

PositionEntry t5_position() {
  return position_entry<T5Position>(
      {"t5", "s_ij + relative_attention_bias[bucket(j - i), h]", "Raffel et al. 2020, 2.1",
       "somewhat: positions beyond max_distance share a bucket"},
      {.place = PositionPlace::scores}, T5PositionOptions{});
}

}  // namespace fovea::nn
