#pragma once
#include "fovea/nn/position/entry.h"

namespace fovea::nn {

/// No positions: rows are a set, but for causal order and padding.
PositionEntry no_position();

}  // namespace fovea::nn
