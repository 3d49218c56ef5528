#include "fovea/cli/classify_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "fovea/cli/model_settings.h"
#include "fovea/cli/settings.h"
#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/io/utf8.h"
#include "fovea/models/registry.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/block/attention_block.h"
#include "fovea/nn/position/registry.h"
#include "fovea/tasks/classify_config.h"
#include "fovea/tasks/recipes.h"
#include "fovea/train/config.h"

namespace fovea::cli {
namespace {

using nlohmann::json;

struct NamedFlag {
  const char* flag;
  const char* key;
  bool number;
};

constexpr NamedFlag kNamedFlags[] = {
    {"--model", "model.name", false},
    {"--data", "data.name", false},
    {"--attention", "model.attention", false},
    {"--attention-block", "model.attention_block", false},
    {"--position", "model.position", false},
    {"--amp", "amp", false},
    {"--seed", "seed", true},
    {"--threads", "threads", true},
};

// What a run recorded about its data and is found again from them.
void drop_findings(json& settings) {
  for (const char* key : {"task", "class_names", "preprocessing", "library"}) settings.erase(key);
}

// The trainer knows its own keys only; a misspelt section should be told its name too.
void refuse_unknown_keys(const json& settings, const std::string& where) {
  std::vector<std::string> names = {"model", "data", "description"};
  for (const auto& key : train::config_keys()) names.push_back(key.name);
  for (const auto& [name, value] : settings.items()) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    throw usage_error(where, fmt::format("unknown key '{}'. {}", name,
                                         suggest_name(name, names, "`--print-config` shows every key.")));
  }
}

void require(const json& settings, const std::string& section, const std::string& where) {
  if (settings.contains(section) && settings[section].is_object() && settings[section].contains("name"))
    return;
  throw usage_error(where, fmt::format("no {0} is named. Give --{0} NAME; `fovea list {1}` shows them.",
                                       section, section == "model" ? "models" : section));
}

std::vector<std::string> setting_keys() {
  auto keys = names_of(train::config_keys());
  for (const auto& key : model_keys()) keys.push_back("model." + key);
  const json data = tasks::to_json(tasks::DataSettings{});
  for (const auto& [key, value] : data.items()) keys.push_back("data." + key);
  return keys;
}

// Networks of convolutions see where they look.
void refuse_position(const Call& call, const json& model) {
  const auto position = call.get("--position");
  if (!position || models::model_config(model["name"], json::object()).contains("position")) return;
  throw usage_error(
      call.command(),
      fmt::format("--position is for networks with a choice of position schemes; found {} for {}, "
                  "which has none. Leave --position out.",
                  io::quote_text(*position), model["name"].get<std::string>()));
}

}  // namespace

std::vector<Argument> classify_flags() {
  return {
      {.name = "--model",
       .value = "NAME",
       .help = "network to train (fovea list models)",
       .names = [] { return names_of(models::model_entries()); }},
      data_flag("data set (fovea list data)"),
      {.name = "--recipe",
       .value = "NAME",
       .help = "a configuration that comes with the program (fovea list recipes)",
       .names = [] { return names_of(tasks::recipes()); }},
      {.name = "--config", .value = "FILE", .help = "a JSON configuration", .completes = Completes::files},
      set_flag("one setting: lr=0.1, model.patch_size=7, data.val_fraction=0.1; repeatable", setting_keys),
      {.name = "--attention",
       .value = "NAME[:key=value,...]",
       .help = "attention mechanism of all layers (fovea list mechanisms)",
       .names = [] { return names_of(nn::attention_entries()); }},
      {.name = "--attention-block",
       .value = "NAME",
       .help = "attention block of a convolutional network: none or one of fovea list blocks",
       .names = nn::attention_block_names},
      {.name = "--position",
       .value = "NAME[:key=value,...]",
       .help = "position scheme of a transformer (fovea list positions)",
       .names = [] { return names_of(nn::position_entries()); }},
      {.name = "--seed", .value = "N", .help = "of weights, order of samples, augmentation, dropout"},
      {.name = "--amp",
       .value = "TYPE",
       .help = "automatic mixed precision: none or bf16",
       .names =
           [] {
             return std::vector<std::string>{"none", "bf16"};
           },
       .only_names = true},
      threads_flag(),
      device_flag()};
}

json classify_settings(const Call& call) {
  json settings = json::object();
  if (const auto recipe = call.get("--recipe")) settings = tasks::recipe_config(*recipe);
  const auto output = call.get("--output");
  if (output && call.has("--resume")) {
    const auto saved = std::filesystem::path(*output) / "config.json";
    std::error_code ignored;
    if (std::filesystem::is_regular_file(saved, ignored)) merge_settings(settings, read_settings(saved));
  }
  if (const auto file = call.get("--config")) merge_settings(settings, read_settings(*file));
  drop_findings(settings);
  for (const auto& pair : call.all("--set")) assign_text(settings, pair);
  for (const auto& named : kNamedFlags) {
    if (!call.has(named.flag)) continue;
    if (named.number) {
      assign(settings, named.key, *call.get_int(named.flag, 0));
    } else {
      assign(settings, named.key, *call.get(named.flag));
    }
  }
  refuse_unknown_keys(settings, call.command());
  require(settings, "model", call.command());
  require(settings, "data", call.command());
  refuse_position(call, settings["model"]);
  return settings;
}

}  // namespace fovea::cli
