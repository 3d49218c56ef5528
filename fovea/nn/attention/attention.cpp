#include "fovea/nn/attention/attention.h"

#include <utility>

#include "fovea/core/error.h"
#include "fovea/ops/describe.h"

namespace fovea::nn {

bool asks_anything(const AttendObservation& o) {
  return o.entropy || o.distance || o.argmax || o.received || o.top_k || o.blocks || !o.rows.empty();
}

namespace {

std::string found_mask(const AttentionCall& call) {
  if (call.mask) return "a mask " + describe(*call.mask);
  return call.segments ? "segments" : "a mask of blocks";
}

std::string found_bias(const AttentionCall& call) {
  if (call.bias) return "a bias " + describe(*call.bias);
  return call.alibi_slopes ? "alibi_slopes" : call.relative_table ? "relative_table" : "relative_grid";
}

}  // namespace

std::string text_of(CausalAlignment causal) {
  switch (causal) {
    case CausalAlignment::none:
      return "false";
    case CausalAlignment::top_left:
      return "top_left";
    case CausalAlignment::bottom_right:
      return "bottom_right";
  }
  return {};
}

Attention::Attention(AttentionKind kind, const AttentionShape& shape)
    : kind_(std::move(kind)), shape_(shape) {
  const auto& [heads, kv_heads, head_dim, value_dim, width, grid] = shape_;
  if (heads < 1 || kv_heads < 1 || head_dim < 1 || value_dim < 1 || width < 0 || heads % kv_heads != 0) {
    refuse("heads and sizes must be at least 1, and the heads of keys divide those of queries",
           "heads " + std::to_string(heads) + ", heads of keys " + std::to_string(kv_heads) +
               ", head sizes " + std::to_string(head_dim) + " and " + std::to_string(value_dim),
           "Choose others.");
  }
  if (traits().needs_x && width < 1) {
    refuse("it needs the rows before projection", "none",
           "Give x (B, T, E) in the place of q, k and v; in C++ beside them, with E as the shape's width.");
  }
}

void Attention::refuse(const std::string& rule, const std::string& found, const std::string& remedy) const {
  throw usage_error(kind_.name, rule, found, remedy);
}

AttentionOutput Attention::forward(const AttentionInput& input) {
  check(input);
  return run(input);
}

void Attention::check(const AttentionInput& input) const {
  check_operands(input);
  check_places(input);
  check_call(input.call);
}

CausalAlignment Attention::joined_causal(CausalAlignment own, CausalAlignment asked) const {
  if (asked == CausalAlignment::none || asked == own) return own;
  if (own == CausalAlignment::none) return asked;
  refuse("its causal order and that of the call must be aligned alike", "top left and bottom right",
         "Leave one out.");
}

void Attention::check_operands(const AttentionInput& input) const {
  const auto fits = [&](const at::Tensor& t, int64_t heads, int64_t size) {
    return t.defined() && t.dim() == (input.call.packed ? 3 : 4) && t.size(1) == heads && t.size(-1) == size;
  };
  if (!fits(input.q, shape_.heads, shape_.head_dim) || !fits(input.k, shape_.kv_heads, shape_.head_dim) ||
      !fits(input.v, shape_.kv_heads, shape_.value_dim)) {
    refuse(input.call.packed ? "packed q, k and v must be (total, H, D) with its heads and sizes"
                             : "q, k and v must be (B, H, T, D) with its heads and sizes",
           "q " + describe(input.q) + ", k " + describe(input.k) + ", v " + describe(input.v) + " for " +
               std::to_string(shape_.heads) + " heads of queries, " + std::to_string(shape_.kv_heads) +
               " of keys, sizes " + std::to_string(shape_.head_dim) + " and " +
               std::to_string(shape_.value_dim),
           "Reshape them.");
  }
  if (input.k.size(0) != input.v.size(0) || input.k.size(-2) != input.v.size(-2)) {
    refuse("k and v must share batch and length", "k " + describe(input.k) + ", v " + describe(input.v),
           "Give every key one value.");
  }
  const bool rows = input.x.defined() && input.x.dim() == 3 && input.x.size(2) == shape_.width;
  if ((traits().needs_x || input.x.defined()) && !rows) {
    refuse("x must be the rows before projection, (B, T, " + std::to_string(shape_.width) + ")",
           describe(input.x), "Give the host's input.");
  }
  if (traits().needs_x && !input.call.packed &&
      (input.x.size(0) != input.q.size(0) || input.x.size(1) != input.q.size(2))) {
    refuse("x must have a row for each query", "x " + describe(input.x) + ", q " + describe(input.q),
           "Give the rows that q was projected from.");
  }
}

void Attention::check_places(const AttentionInput& input) const {
  if (input.call.packed) return;
  const int64_t queries = input.q.size(2), keys = input.k.size(2);
  if (!traits().supports_cross && (input.cross || input.context.defined() || queries != keys)) {
    refuse("queries and keys must be those of one sequence, as it is for self-attention only",
           input.cross || input.context.defined()
               ? "keys of another sequence"
               : std::to_string(queries) + " queries, " + std::to_string(keys) + " keys",
           "Choose another mechanism for cross-attention.");
  }
  if (traits().needs_2d && !input.grid) {
    refuse("positions must lie in a grid of rows and columns", "a sequence",
           "Choose another mechanism, or give rows and columns as `grid`.");
  }
  const auto within = [&](int64_t places) { return places >= 0 && places <= queries; };
  const auto holds = [&](const GridPositions& grid) {
    return within(grid.rows) && within(grid.columns) && within(grid.prefix) && grid.length() == queries;
  };
  if (input.grid && !holds(*input.grid)) {
    refuse("the grid must hold every position",
           std::to_string(queries) + " positions, a grid of " + std::to_string(input.grid->rows) + " x " +
               std::to_string(input.grid->columns) + " behind " + std::to_string(input.grid->prefix) +
               " tokens",
           "Give the rows and columns of this input, and the tokens before them, as `grid`.");
  }
}

std::string Attention::exact_form(int64_t /*n*/) const { return "softmax:causal=" + text_of(causal()); }

void Attention::check_dropout(double probability) const {
  if (probability <= 0 || (traits().gives_weights && traits().drops_weights)) return;
  refuse("it drops no weights, as it forms none", "dropout " + describe_number(probability),
         "Set the dropout of attention to 0, or choose another mechanism.");
}

void Attention::check_call(const AttentionCall& call) const {
  const AttentionTraits& can = traits();
  const char* choose = "Choose another mechanism, or leave it out.";
  if (!can.causal_ok && call.causal != CausalAlignment::none) {
    refuse("it cannot run in causal order, as what it computes of a query rests on all keys", "causal",
           choose);
  }
  const bool of_keys = call.mask && (call.mask->dim() < 2 || call.mask->size(-2) == 1);
  const bool of_pairs = (call.mask && !(can.takes_key_masks && of_keys)) || call.segments || call.blocks;
  if (!can.takes_masks && of_pairs) {
    refuse("it takes no masks", found_mask(call),
           can.takes_key_masks ? "Hide the same keys from all queries, by a mask (B, 1, 1, M) or by lengths."
                               : choose);
  }
  if (!can.takes_lengths && call.key_lengths) {
    refuse("it takes no lengths of keys", "key_lengths", choose);
  }
  if (!can.takes_biases && (call.bias || call.alibi_slopes || call.relative_table || call.relative_grid)) {
    refuse("it takes no biases", found_bias(call), choose);
  }
  if (!can.takes_relative_keys && call.relative_keys) {
    refuse("it does not add relative keys to its scores", "relative_keys " + describe(*call.relative_keys),
           choose);
  }
  if (!can.gives_weights && call.weights) refuse("it has no weights to show", "weights asked for", choose);
  check_dropout(call.dropout_p);
  if (!can.observes && asks_anything(call.observe)) {
    refuse("it cannot tell what it attends to without a matrix of weights", "an observation",
           can.gives_weights ? "Ask for the weights." : choose);
  }
  if (!can.takes_packed && call.packed) {
    refuse("it takes no sequences behind each other", "cu_seqlens", "Pad them, and give their lengths.");
  }
}

}  // namespace fovea::nn
