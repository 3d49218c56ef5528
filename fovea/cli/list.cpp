#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/data/open.h"
#include "fovea/explain/explainer.h"
#include "fovea/models/registry.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/block/attention_block.h"
#include "fovea/tasks/recipes.h"

namespace fovea::cli {
namespace {

using nlohmann::ordered_json;

ordered_json models_list() {
  ordered_json rows = ordered_json::array();
  for (const auto& entry : models::model_entries()) {
    rows.push_back({{"name", entry.name},
                    {"family", entry.family},
                    {"summary", entry.summary},
                    {"source", entry.source}});
  }
  return rows;
}

ordered_json mechanisms_list() {
  ordered_json rows = ordered_json::array();
  for (const auto& entry : nn::mechanism_entries()) {
    rows.push_back({{"name", entry.name},
                    {"summary", entry.formula},
                    {"cost", entry.cost},
                    {"path", entry.path},
                    {"defaults", entry.defaults},
                    {"exact", entry.exact},
                    {"source", entry.paper}});
  }
  return rows;
}

ordered_json options_list() {
  ordered_json rows = ordered_json::array();
  for (const auto& option : nn::mechanism_options()) {
    rows.push_back({{"name", option.name},
                    {"summary", option.formula},
                    {"value", option.value},
                    {"cost", option.cost},
                    {"source", option.paper}});
  }
  return rows;
}

ordered_json blocks_list() {
  ordered_json rows = ordered_json::array();
  for (const auto& entry : nn::attention_block_entries()) {
    rows.push_back({{"name", entry.name}, {"summary", entry.formula}, {"source", entry.paper}});
  }
  return rows;
}

ordered_json tasks_list() {
  return ordered_json::array(
      {{{"name", "classify"}, {"summary", "one label an image; cross entropy, top-1 and top-5"}}});
}

ordered_json data_list() {
  ordered_json rows = ordered_json::array();
  for (const auto& entry : data::data_entries()) {
    rows.push_back({{"name", entry.name}, {"summary", entry.description}});
  }
  return rows;
}

ordered_json explainers_list() {
  ordered_json rows = ordered_json::array();
  for (const auto& entry : explain::explainer_entries()) {
    rows.push_back({{"name", entry.name}, {"summary", entry.summary}, {"source", entry.source}});
  }
  return rows;
}

ordered_json recipes_list() {
  ordered_json rows = ordered_json::array();
  for (const auto& recipe : tasks::recipes()) {
    rows.push_back({{"name", recipe.name}, {"summary", recipe.summary}});
  }
  return rows;
}

struct Kind {
  const char* name;
  ordered_json (*rows)();
};

constexpr Kind kKinds[] = {{"models", models_list},         {"mechanisms", mechanisms_list},
                           {"options", options_list},       {"blocks", blocks_list},
                           {"tasks", tasks_list},           {"data", data_list},
                           {"explainers", explainers_list}, {"recipes", recipes_list}};

std::vector<std::string> kind_names() {
  std::vector<std::string> names;
  for (const auto& kind : kKinds) names.emplace_back(kind.name);
  return names;
}

// What a row tells beside its summary, in the order of its keys.
std::string details(const ordered_json& row) {
  std::vector<std::string> texts;
  for (const auto& [key, value] : row.items()) {
    if (key == "name" || key == "summary" || !value.is_string() || value == "") continue;
    texts.push_back(fmt::format("{}: {}", key, value.get<std::string>()));
  }
  return fmt::format("{}", fmt::join(texts, "; "));
}

std::string rows_text(const ordered_json& rows, const std::string& indent, bool detailed) {
  size_t width = 0;
  for (const auto& row : rows) width = std::max(width, row["name"].get<std::string>().size());
  std::string out;
  for (const auto& row : rows) {
    out += fmt::format("{}{:<{}}  {}\n", indent, row["name"].get<std::string>(), width,
                       row["summary"].get<std::string>());
    if (detailed) out += fmt::format("{}{:<{}}  {}\n", indent, "", width, details(row));
  }
  return out;
}

int run_list(const Call& call) {
  const auto wanted = call.get("KIND");
  ordered_json all = ordered_json::object();
  for (const auto& kind : kKinds) {
    if (!wanted || *wanted == kind.name) all[kind.name] = kind.rows();
  }
  if (call.has("--json")) {
    print_json(all);
    return 0;
  }
  std::string text;
  for (const auto& [name, rows] : all.items()) {
    if (!wanted) text += (text.empty() ? "" : "\n") + name + "\n";
    const bool detailed = wanted && (name == "mechanisms" || name == "options");
    text += rows_text(rows, wanted ? "" : "  ", detailed);
  }
  print(text);
  return 0;
}

}  // namespace

Command list_command() {
  return {.name = "list",
          .help = "names that the other commands take",
          .example = "fovea list models",
          .arguments = {{.name = "KIND",
                         .help = fmt::format("{} (default: all)", fmt::join(kind_names(), ", ")),
                         .names = kind_names,
                         .only_names = true},
                        json_flag()},
          .run = run_list};
}

}  // namespace fovea::cli
