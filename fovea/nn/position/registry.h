#pragma once
#include <string>
#include <vector>

#include "fovea/nn/position/entry.h"

namespace fovea::nn {

/// Every position scheme, in the order in which they are listed.
const std::vector<PositionEntry>& position_entries();

/// A scheme with its options, as users write it.
struct PositionPlan {
  const PositionEntry* entry;
  PositionBuilder build;
};

/// The entry of that name. Throws fovea::Error (usage), naming the nearest, when there is none.
const PositionEntry& find_position(const std::string& name);

/// What users write: NAME[:key=value,...], such as "rotary:base=500000". Throws fovea::Error (usage) on a
/// name or key that there is not, naming the nearest, on a key given twice, and on values that do not fit.
PositionPlan parse_position(const std::string& text);

}  // namespace fovea::nn
