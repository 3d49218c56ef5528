#pragma once
#include <string>
#include <vector>

namespace fovea::nn {

/// One row of `fovea list mechanisms`.
struct MechanismEntry {
  std::string name;
  std::string formula;
  std::string paper;
  /// Time and extra memory over N queries, M keys, head size D.
  std::string cost;
  /// Equal to softmax attention up to rounding.
  bool exact = false;
};

const std::vector<MechanismEntry>& mechanism_entries();

/// The entry of that name. Throws fovea::Error (usage), naming the nearest, when there is none.
const MechanismEntry& find_mechanism(const std::string& name);

}  // namespace fovea::nn
