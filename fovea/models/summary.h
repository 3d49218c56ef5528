#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "fovea/models/network.h"

namespace fovea::models {

/// One row: a layer, or a block that holds layers. Its numbers are its own, without those of the rows inside
/// it, so that every column adds up to the total.
struct LayerSummary {
  /// Dotted name; empty for the network itself.
  std::string path;
  /// Conv2d, Linear, SelfAttention, ...
  std::string type;
  /// Of the last call; empty if the layer never ran.
  std::vector<int64_t> output_shape;
  int64_t parameters = 0;
  int64_t multiply_adds = 0;
  int64_t activation_bytes = 0;
  /// Places of the input, along its height, that act on one place of the output, padding included. By windows
  /// alone: a gate made of a global mean is not counted. Empty from the first attention layer on: all places.
  std::optional<int64_t> receptive_field;
};

struct Summary {
  std::vector<int64_t> input_shape;
  int64_t parameters = 0;
  int64_t trainable = 0;
  /// Of convolutions, linear layers and attention products; other operations count nothing.
  int64_t multiply_adds = 0;
  /// Of all distinct tensors that layers and blocks give, in the type they have.
  int64_t activation_bytes = 0;
  /// In the order of the state dict.
  std::vector<LayerSummary> layers;
};

/// Runs the network once in evaluation mode, on the device where it is, and notes what every layer does.
/// Built under nn::MetaDeviceScope, a network of any size is summarised without memory. `shape` is that of
/// the first input, batch included; by default what inputs() says. Errors as Network::run().
Summary summarise(Network& network, std::vector<int64_t> shape = {});

/// As `fovea summary --json` prints it: an object with `parameters`, `trainable`, `multiply_adds`,
/// `activation_bytes`, `input`, `layers`; `receptive_field` is null where all places are seen.
nlohmann::json to_json(const Summary& summary);

}  // namespace fovea::models
