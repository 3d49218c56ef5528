#include "fovea/nn/position/learned.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

#include <utility>

#include "fovea/nn/init.h"

namespace fovea::nn {
namespace {

constexpr int64_t kUsualLength = 512;  // BERT's

}  // namespace

LearnedPosition::LearnedPosition(PositionKind kind, const PositionShape& shape,
                                 const LearnedPositionOptions& options)
    : Position(std::move(kind), shape) {
  const int64_t rows = options.max_len.value_or(shape.grid ? shape.grid->length() : kUsualLength);
  pos_embed = register_parameter("pos_embed", at::empty({1, rows, shape.width}));
  trunc_normal_(pos_embed, 0.02);
}

at::Tensor LearnedPosition::embed(const at::Tensor& x) {
  const int64_t rows = x.size(1), known = pos_embed.size(1);
  if (rows > known) {
    refuse("there must be a learned vector for each row",
           std::to_string(rows) + " rows, " + std::to_string(known) + " vectors",
           "Raise max_len, or choose a scheme without a table.");
  }
  return x + pos_embed.narrow(1, 0, rows);
}

PositionEntry learned_position() {
  return position_entry<LearnedPosition>(
      {"learned", "x_t + pos_embed_t", "Gehring et al. 2017, 3.1; Dosovitskiy et al. 2021, 3.1",
       "no: rows beyond the table are refused"},
      {.place = PositionPlace::embeddings}, LearnedPositionOptions{});
}

}  // namespace fovea::nn
