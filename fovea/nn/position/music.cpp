#include "fovea/nn/position/music.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/randn.h>

#include <cmath>
#include <utility>

namespace fovea::nn {

MusicPosition::MusicPosition(PositionKind kind, const PositionShape& shape, const MusicOptions& options)
    : Position(std::move(kind), shape), reach_(options.max_distance) {
  const int64_t distances = options.bidirectional ? 2 * reach_ + 1 : reach_ + 1;
  Er = register_parameter("Er", at::randn({shape.heads, distances, shape.head_dim}) /
                                    std::sqrt(static_cast<double>(shape.head_dim)));
}

void MusicPosition::place(AttentionInput& input) const {
  if (input.call.relative_keys)
    refuse("relative keys are given once", "those of the call", "Leave them out.");
  const int64_t ahead = 2 * reach_ + 1 - Er.size(1);
  input.call.relative_keys = ahead == 0 ? Er : at::constant_pad_nd(Er, {0, 0, 0, ahead});
}

PositionEntry music_position() {
  return position_entry<MusicPosition>(
      {"music", "s_ij = scale q_i . (k_j + Er[h, j - i])", "Music Transformer (Huang et al. 2018), 3.4.1",
       "somewhat: positions beyond max_distance share a vector"},
      {.place = PositionPlace::scores, .relative_keys = true, .per_layer = true}, MusicOptions{});
}

}  // namespace fovea::nn
