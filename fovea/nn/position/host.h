#pragma once
#include <memory>
#include <string>
#include <utility>

#include "fovea/nn/position/position.h"

// What networks and layers that hold a position scheme have in common.

namespace fovea::nn {

/// The scheme of this text, see parse_position(), in one layer that attends with `attention`. Throws
/// fovea::Error (usage) as that does, where it acts on rows, which are the network's, and where the mechanism
/// takes no such change of its scores.
std::shared_ptr<Position> layer_position(const std::string& text, const PositionShape& shape,
                                         const Attention& attention);

/// The text that the layers of a network with this scheme are built with: none where one is enough for all.
std::string text_of_layers(const std::string& text);

/// The scheme of this text that all layers of a network share; none where each has its own.
std::shared_ptr<Position> network_position(const std::string& text, const PositionShape& shape);

/// Throws fovea::Error (usage) where the mechanism takes no such change of its scores.
void check_position_fits(const Position& position, const Attention& attention);

/// Gives a layer the network's scheme in the place of its own, if it acts there. The network registers it.
template <class Host>
void share_position(Host& layer, const std::shared_ptr<Position>& position) {
  if (!position->acts_in_layers()) return;
  check_position_fits(*position, *layer.attention);
  layer.unregister_module("position");
  layer.position = position;
}

}  // namespace fovea::nn
