#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace fovea::tasks {

/// A named configuration that comes with the program: recipes/NAME.json of the source tree.
struct Recipe {
  std::string name;
  /// Its `description`.
  std::string summary;
};

const std::vector<Recipe>& recipes();

/// The configuration of a recipe, without its description. Throws fovea::Error (usage) on an unknown name,
/// with the nearest.
nlohmann::json recipe_config(const std::string& name);

}  // namespace fovea::tasks
