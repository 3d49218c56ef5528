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
  /// Implementations that run it on the CPU in float32, best first, as attend_choice() names them.
  std::string path;
  /// The options that make it of `softmax`; a user's own come after them.
  std::string defaults = {};
  /// Equal to softmax attention up to rounding.
  bool exact = false;
};

const std::vector<MechanismEntry>& mechanism_entries();

/// The entry of that name. Throws fovea::Error (usage), naming the nearest, when there is none.
const MechanismEntry& find_mechanism(const std::string& name);

/// One row of `fovea list options`: what a mechanism takes after its colon, as key=value.
struct MechanismOption {
  std::string name;
  /// What its value may be.
  std::string value;
  std::string formula;
  std::string paper;
  std::string cost;
};

const std::vector<MechanismOption>& mechanism_options();

}  // namespace fovea::nn
