#include <c10/core/GradMode.h>
#include <c10/core/ScalarType.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/cli/device.h"
#include "fovea/cli/finite.h"
#include "fovea/cli/model_settings.h"
#include "fovea/cli/run.h"
#include "fovea/cli/settings.h"
#include "fovea/core/error.h"
#include "fovea/io/tensors.h"
#include "fovea/models/registry.h"
#include "fovea/models/weights.h"
#include "fovea/nn/meta_device.h"
#include "fovea/train/checkpoint.h"

namespace fovea::cli {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

/// What to build and where its weights are.
struct Source {
  std::string name;
  json settings;
  std::filesystem::path weights;
};

// config.json of a folder: Fovea's own ({"model": {"name": ...}}) or timm's ({"architecture": ...,
// "model_args": {}}).
void read_folder_config(Source& source, const std::filesystem::path& file) {
  json config = read_settings(file);
  if (config.contains("model") && config["model"].is_object() && config["model"].contains("name")) {
    if (config["model"]["name"].is_string()) source.name = config["model"]["name"];
    source.settings = models::settings_of(config["model"]);
  } else if (config.contains("architecture") && config["architecture"].is_string()) {
    source.name = config["architecture"];
    source.settings = config.value("model_args", json::object());
    if (config.contains("num_classes") && source.settings.is_object())
      source.settings["num_classes"] = config["num_classes"];
  } else {
    throw model_file_error(
        file.string(),
        "names no network: neither model.name (Fovea) nor architecture (timm) is there. Give the "
        "name, --config and --weights instead of the folder.");
  }
  models::model_config(source.name, source.settings);
}

// What is wrong in the folder's file is wrong with the model, not with the call.
void read_folder(Source& source, const std::filesystem::path& folder) {
  const auto file = folder / "config.json";
  try {
    read_folder_config(source, file);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    throw model_file_error(file.string(), message_of(error));
  }
}

Source find_source(const Call& call) {
  Source source{
      .name = *call.get("MODEL"), .settings = model_settings(call), .weights = call.get("--weights", "")};
  const std::filesystem::path folder = source.name;
  std::error_code ignored;
  if (source.weights.empty() && std::filesystem::is_directory(folder, ignored)) {
    const json given = source.settings;
    read_folder(source, folder);
    merge_settings(source.settings, given);
    source.weights = folder;
  }
  return source;
}

int list_inputs(const Call& call, const Source& source) {
  const nn::MetaDeviceScope meta;
  const auto network = models::make_model(source.name, source.settings);
  ordered_json rows = ordered_json::array();
  std::string text;
  for (const auto& input : network->inputs()) {
    rows.push_back({{"name", input.name},
                    {"shape", input.shape},
                    {"dtype", c10::toString(input.dtype)},
                    {"meaning", input.meaning}});
    text += fmt::format("{}  ({})  {}  {}\n", input.name, fmt::join(input.shape, ", "),
                        c10::toString(input.dtype), input.meaning);
  }
  if (call.has("--json")) {
    print_json(ordered_json{{"inputs", rows}});
  } else {
    print(text);
  }
  return 0;
}

int run_model(const Call& call) {
  apply_device_and_threads(call);
  const Source source = find_source(call);
  if (call.has("--list-inputs")) return list_inputs(call, source);
  if (source.weights.empty()) required(call, "--weights");
  const std::string input = required(call, "--input"), output = required(call, "--output");
  const auto network = models::make_model(source.name, source.settings);
  train::require_undamaged(source.weights);
  models::load_weights(*network, source.weights);
  network->eval();
  io::TensorMap inputs = load_input(input);
  // Networks compute in float32, whatever the input is stored as.
  for (auto& [name, tensor] : inputs) {
    if (tensor.is_floating_point()) tensor = tensor.to(at::kFloat);
  }
  require_finite(inputs, input);
  const c10::NoGradGuard no_grad;
  const io::TensorMap outputs = network->run(inputs);
  require_finite(outputs, "run model");
  io::save_tensors(output, outputs);
  ordered_json rows = ordered_json::object();
  for (const auto& [name, tensor] : outputs) rows[name] = tensor.sizes().vec();
  if (call.has("--json")) print_json(ordered_json{{"output", output}, {"shapes", rows}});
  return 0;
}

}  // namespace

Command run_model_command() {
  return {.name = "model",
          .help = "run a network in evaluation mode, float32: named tensors in, named tensors out",
          .example =
              "fovea run model resnet34 --weights w.safetensors --input x.safetensors --output y.safetensors",
          .arguments = {{.name = "MODEL",
                         .help = "a name of `fovea list models`, or a folder with config.json and weights",
                         .required = true,
                         .completes = Completes::folders},
                        {.name = "--config",
                         .value = "FILE",
                         .help = "JSON of the network's own arguments (num_classes, in_chans, img_size, ...)",
                         .completes = Completes::files},
                        set_flag("one argument of the network: num_classes=10; repeatable", model_keys),
                        tensors_flag("--weights", "weights; not needed for a folder"),
                        tensors_flag("--input", "tensors by the names that --list-inputs shows"),
                        tensors_output_flag("where the outputs go, by name"),
                        {.name = "--list-inputs", .help = "print the inputs that the network wants and stop"},
                        threads_flag(),
                        device_flag(),
                        json_flag()},
          .run = run_model};
}

}  // namespace fovea::cli
