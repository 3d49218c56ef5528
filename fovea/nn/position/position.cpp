#include "fovea/nn/position/position.h"

#include <utility>

#include "fovea/core/error.h"
#include "fovea/ops/describe.h"

namespace fovea::nn {

std::string in_words(PositionPlace place) {
  switch (place) {
    case PositionPlace::nowhere:
      return "nowhere";
    case PositionPlace::embeddings:
      return "embeddings";
    case PositionPlace::queries_and_keys:
      return "queries and keys";
    case PositionPlace::scores:
      return "scores";
    case PositionPlace::scores_and_values:
      return "scores and values";
  }
  return {};
}

Position::Position(PositionKind kind, const PositionShape& shape) : kind_(std::move(kind)), shape_(shape) {
  const bool on_rows = traits().place == PositionPlace::embeddings;
  if (shape.heads < 1 || shape.kv_heads < 1 || shape.head_dim < 1 || shape.value_dim < 1 ||
      (on_rows && shape.width < 1)) {
    refuse("heads, sizes and width must be at least 1",
           "heads " + std::to_string(shape.heads) + " and " + std::to_string(shape.kv_heads) + ", sizes " +
               std::to_string(shape.head_dim) + " and " + std::to_string(shape.value_dim) + ", width " +
               std::to_string(shape.width),
           "Choose others.");
  }
  if (traits().needs_2d && !shape.grid) {
    refuse("positions must lie in a grid of rows and columns", "a sequence",
           "Choose another scheme, or give rows and columns as `grid`.");
  }
}

void Position::refuse(const std::string& rule, const std::string& found, const std::string& remedy) const {
  throw usage_error(kind_.name, rule, found, remedy);
}

bool Position::acts_in_layers() const {
  return traits().place != PositionPlace::nowhere && traits().place != PositionPlace::embeddings;
}

at::Tensor Position::after(int64_t layers, const at::Tensor& x) {
  if (traits().place != PositionPlace::embeddings || layers != traits().after_layers) return x;
  const bool rows = x.defined() && x.dim() == 3 && x.size(2) == shape_.width;
  if (!rows || (shape_.grid && x.size(1) != shape_.grid->length())) {
    refuse("rows must be (B, " + (shape_.grid ? std::to_string(shape_.grid->length()) : "T") + ", " +
               std::to_string(shape_.width) + ")",
           describe(x), "Reshape them.");
  }
  return embed(x);
}

void Position::check_operands(const AttentionInput& input) const {
  if (input.call.packed) {
    refuse("it takes no sequences behind each other", "cu_seqlens", "Pad them, and give their lengths.");
  }
  const auto fits = [&](const at::Tensor& t, int64_t heads) {
    return t.defined() && t.dim() == 4 && t.size(1) == heads && t.size(3) == shape_.head_dim;
  };
  if (!fits(input.q, shape_.heads) || !fits(input.k, shape_.kv_heads)) {
    refuse("q and k must be (B, H, T, D) with its heads and size",
           "q " + describe(input.q) + ", k " + describe(input.k) + " for " + std::to_string(shape_.heads) +
               " heads of queries, " + std::to_string(shape_.kv_heads) + " of keys, size " +
               std::to_string(shape_.head_dim),
           "Reshape them.");
  }
  const int64_t queries = input.q.size(2), keys = input.k.size(2);
  if (input.cross || queries != keys) {
    refuse("queries and keys must be those of one sequence, as positions of two have no common start",
           input.cross ? "keys of another sequence"
                       : std::to_string(queries) + " queries, " + std::to_string(keys) + " keys",
           "Choose none for cross-attention.");
  }
  if (shape_.grid && queries != shape_.grid->length()) {
    refuse("the grid must hold every position",
           std::to_string(queries) + " positions, a grid of " + std::to_string(shape_.grid->length()),
           "Give the rows and columns of this input, and the tokens before them, as `grid`.");
  }
}

AttentionOutput Position::attend(Attention& attention, AttentionInput input) {
  if (acts_in_layers()) check_operands(input);
  // Schemes read the order from the call, and a mechanism may have one of its own.
  if (input.call.causal == CausalAlignment::none) input.call.causal = attention.causal();
  return run(attention, std::move(input));
}

AttentionOutput Position::run(Attention& attention, AttentionInput input) {
  place(input);
  return attention.forward(input);
}

}  // namespace fovea::nn
