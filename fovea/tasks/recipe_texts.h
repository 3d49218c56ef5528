#pragma once
#include <string>
#include <vector>

namespace fovea::tasks {

/// A file of recipes/, which CMake compiles into the program so that it needs no path at run time.
struct RecipeText {
  std::string name;
  const char* json;
};

/// Sorted by name. Defined in a file that CMake writes.
const std::vector<RecipeText>& recipe_texts();

}  // namespace fovea::tasks
