#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/core/error.h"
#include "fovea/core/listed.h"
#include "fovea/data/open.h"
#include "fovea/explain/explainer.h"
#include "fovea/models/registry.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/block/attention_block.h"
#include "fovea/nn/position/registry.h"
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

std::string needs_of(const nn::AttentionTraits& traits) {
  std::vector<std::string> needs;
  if (traits.needs_x) needs.emplace_back("x");
  if (traits.needs_2d) needs.emplace_back("a grid of positions");
  return listed(needs, "and");
}

// What a mechanism can and cannot, in words.
ordered_json mechanism_row(const nn::AttentionEntry& entry) {
  const nn::AttentionTraits& traits = entry.traits;
  return {{"name", entry.name},    {"summary", entry.formula},   {"cost", entry.cost},
          {"exact", traits.exact}, {"causal", traits.causal_ok}, {"cross", traits.supports_cross},
          {"path", entry.path},    {"needs", needs_of(traits)},  {"source", entry.paper}};
}

ordered_json option_row(const nn::OptionDoc& option) {
  return {{"name", option.name},
          {"summary", option.meaning},
          {"value", option.value},
          {"default", option.standard},
          {"source", option.source}};
}

ordered_json mechanisms_list() {
  ordered_json rows = ordered_json::array();
  for (const auto& entry : nn::attention_entries()) rows.push_back(mechanism_row(entry));
  return rows;
}

ordered_json position_row(const nn::PositionEntry& entry) {
  const nn::PositionTraits& traits = entry.traits;
  return {{"name", entry.name},
          {"summary", entry.formula},
          {"acts_on", nn::in_words(traits.place)},
          {"extrapolates", entry.extrapolates},
          {"per_layer", traits.per_layer},
          {"needs", traits.needs_2d ? "a grid of positions" : ""},
          {"source", entry.paper}};
}

ordered_json positions_list() {
  ordered_json rows = ordered_json::array();
  for (const auto& entry : nn::position_entries()) rows.push_back(position_row(entry));
  return rows;
}

// Each option once with all mechanisms that take it so; their defaults are their own.
ordered_json options_list() {
  ordered_json rows = ordered_json::array();
  for (const auto& entry : nn::attention_entries()) {
    for (const auto& option : entry.options) {
      ordered_json row = option_row(option);
      row.erase("default");
      const auto same = std::find_if(rows.begin(), rows.end(), [&](ordered_json other) {
        other.erase("mechanisms");
        return other == row;
      });
      if (same == rows.end()) {
        row["mechanisms"] = entry.name;
        rows.push_back(row);
      } else {
        (*same)["mechanisms"] = (*same)["mechanisms"].get<std::string>() + ", " + entry.name;
      }
    }
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

constexpr Kind kKinds[] = {
    {"models", models_list},       {"mechanisms", mechanisms_list}, {"options", options_list},
    {"positions", positions_list}, {"blocks", blocks_list},         {"tasks", tasks_list},
    {"data", data_list},           {"explainers", explainers_list}, {"recipes", recipes_list}};

std::vector<std::string> kind_names() {
  std::vector<std::string> names;
  for (const auto& kind : kKinds) names.emplace_back(kind.name);
  return names;
}

// What `fovea list KIND NAME` shows.
std::vector<std::string> option_owners() {
  auto names = names_of(nn::attention_entries());
  for (const auto& entry : nn::position_entries()) names.push_back(entry.name);
  return names;
}

// What a row tells beside its summary, in the order of its keys.
std::string details(const ordered_json& row) {
  std::vector<std::string> texts;
  for (const auto& [key, value] : row.items()) {
    if (key == "name" || key == "summary" || value == "") continue;
    if (value.is_boolean()) texts.push_back(fmt::format("{}: {}", key, value ? "yes" : "no"));
    if (value.is_string()) texts.push_back(fmt::format("{}: {}", key, value.get<std::string>()));
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

// One of `kind` and what it takes after its colon.
int list_one(const Call& call, const std::string& kind, ordered_json row,
             const std::vector<nn::OptionDoc>& docs) {
  ordered_json options = ordered_json::array();
  for (const auto& option : docs) options.push_back(option_row(option));
  if (call.has("--json")) {
    row["options"] = options;
    print_json({{kind, ordered_json::array({row})}});
  } else {
    print(rows_text(ordered_json::array({row}), "", true) + "\n" + rows_text(options, "  ", true));
  }
  return 0;
}

int list_named(const Call& call, const std::string& name) {
  const auto kind = call.get("KIND");
  if (kind == "mechanisms") {
    const nn::AttentionEntry& entry = nn::find_attention(name);
    return list_one(call, *kind, mechanism_row(entry), entry.options);
  }
  if (kind == "positions") {
    const nn::PositionEntry& entry = nn::find_position(name);
    return list_one(call, *kind, position_row(entry), entry.options);
  }
  throw usage_error(call.command(), "only mechanisms and positions are shown one at a time", "'" + name + "'",
                    "Leave it out.");
}

int run_list(const Call& call) {
  const auto wanted = call.get("KIND");
  if (const auto name = call.get("NAME")) return list_named(call, *name);
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
    const bool detailed = wanted && (name == "mechanisms" || name == "options" || name == "positions");
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
                        {.name = "NAME",
                         .help = "one mechanism or position scheme, with its options",
                         .names = option_owners},
                        json_flag()},
          .run = run_list};
}

}  // namespace fovea::cli
