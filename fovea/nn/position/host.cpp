#include "fovea/nn/position/host.h"

#include "fovea/core/error.h"
#include "fovea/nn/position/registry.h"

namespace fovea::nn {
namespace {

constexpr const char* kNone = "none";

}  // namespace

void check_position_fits(const Position& position, const Attention& attention) {
  const PositionTraits& acts = position.traits();
  const AttentionTraits& can = attention.traits();
  const bool on_values = acts.place == PositionPlace::scores_and_values,
             on_scores = on_values || acts.place == PositionPlace::scores;
  const auto require = [&](bool holds, const char* rule) {
    if (holds) return;
    throw usage_error(position.scheme(), rule, attention.mechanism(),
                      "Choose another mechanism, or a scheme that acts elsewhere.");
  };
  require(acts.place != PositionPlace::queries_and_keys || can.reads_queries_and_keys,
          "the mechanism must read queries and keys, on which it acts");
  require(!on_scores || can.takes_biases, "the mechanism must take biases, as which it acts");
  require(!on_values || can.gives_weights, "the mechanism must have weights of pairs, which take its values");
  require(!acts.relative_keys || can.takes_relative_keys,
          "the mechanism must add relative keys to its scores");
}

std::shared_ptr<Position> layer_position(const std::string& text, const PositionShape& shape,
                                         const Attention& attention) {
  auto position = parse_position(text).build(shape);
  if (position->traits().place == PositionPlace::embeddings) {
    throw usage_error(position->scheme(), "it acts on the rows of a network, not in a layer of attention",
                      "a layer of attention", "Give it to the network.");
  }
  check_position_fits(*position, attention);
  return position;
}

std::string text_of_layers(const std::string& text) {
  return parse_position(text).entry->traits.per_layer ? text : kNone;
}

std::shared_ptr<Position> network_position(const std::string& text, const PositionShape& shape) {
  const PositionPlan plan = parse_position(text);
  return plan.entry->traits.per_layer ? parse_position(kNone).build(shape) : plan.build(shape);
}

}  // namespace fovea::nn
