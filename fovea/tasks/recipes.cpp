#include "fovea/tasks/recipes.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/tasks/recipe_texts.h"

namespace fovea::tasks {

const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> list = [] {
    std::vector<Recipe> result;
    for (const RecipeText& text : recipe_texts()) {
      result.push_back({text.name, nlohmann::json::parse(text.json).value("description", "")});
    }
    return result;
  }();
  return list;
}

nlohmann::json recipe_config(const std::string& name) {
  std::vector<std::string> names;
  for (const RecipeText& text : recipe_texts()) {
    if (text.name == name) {
      nlohmann::json config = nlohmann::json::parse(text.json);
      config.erase("description");
      return config;
    }
    names.push_back(text.name);
  }
  throw usage_error(
      "recipe", fmt::format("there is no recipe '{}'. {}", name,
                            suggest_name(name, names, fmt::format("Known: {}.", fmt::join(names, ", ")))));
}

}  // namespace fovea::tasks
