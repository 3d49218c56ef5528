#include "fovea/models/summary.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/cli/model_settings.h"
#include "fovea/core/grouped.h"
#include "fovea/models/registry.h"
#include "fovea/nn/meta_device.h"

namespace fovea::cli {
namespace {

using nlohmann::json;

std::string shape_text(const std::vector<int64_t>& shape) {
  return shape.empty() ? "-" : fmt::format("{}", fmt::join(shape, "x"));
}

std::string grouped(int64_t value) { return grouped_number(value, ","); }

std::string summary_text(const models::Summary& summary) {
  size_t path = 5, type = 4;
  for (const auto& row : summary.layers) {
    path = std::max(path, row.path.size());
    type = std::max(type, row.type.size());
  }
  std::string out =
      fmt::format("{:<{}}  {:<{}}  {:<16}  {:>13}  {:>16}  {:>9}  {:>14}\n", "layer", path, "type", type,
                  "output", "parameters", "multiply-adds", "receptive", "activation B");
  for (const auto& row : summary.layers) {
    out += fmt::format(
        "{:<{}}  {:<{}}  {:<16}  {:>13}  {:>16}  {:>9}  {:>14}\n", row.path, path, row.type, type,
        shape_text(row.output_shape), grouped(row.parameters), grouped(row.multiply_adds),
        row.receptive_field ? std::to_string(*row.receptive_field) : "all", grouped(row.activation_bytes));
  }
  return out +
         fmt::format("\ninput {}: {} parameters ({} trainable), {} multiply-adds, {} bytes of activations\n",
                     shape_text(summary.input_shape), grouped(summary.parameters), grouped(summary.trainable),
                     grouped(summary.multiply_adds), grouped(summary.activation_bytes));
}

// The image's sizes are also settings of networks that are built for one size.
void apply_input(json& settings, const json& known, const std::vector<int64_t>& input) {
  const auto offer = [&](const char* key, const json& value) {
    if (known.contains(key) && !settings.contains(key)) settings[key] = value;
  };
  if (input.size() != 3) return;
  offer("in_chans", input[0]);
  offer("img_size", input[1] == input[2] ? json(input[1]) : json({input[1], input[2]}));
}

int run_summary(const Call& call) {
  const std::string name = *call.get("MODEL");
  json settings = model_settings(call);
  std::vector<int64_t> shape;
  if (call.has("--input")) {
    shape = parse_shape(call, "--input");
    apply_input(settings, models::model_config(name, settings), shape);
    if (shape.size() < 4) shape.insert(shape.begin(), 1);
  }
  // Without memory and numbers, so that a network of any size can be looked at.
  const nn::MetaDeviceScope meta;
  const auto network = models::make_model(name, settings);
  const auto summary = models::summarise(*network, shape);
  if (call.has("--json")) {
    print_json(models::to_json(summary));
  } else {
    print(summary_text(summary));
  }
  return 0;
}

}  // namespace

Command summary_command() {
  return {.name = "summary",
          .help = "layers of a network with shapes, parameters, multiply-adds, receptive field, memory",
          .example = "fovea summary vit_tiny --input 3x224x224 --json",
          .arguments = {{.name = "MODEL",
                         .help = "a name of `fovea list models`",
                         .required = true,
                         .names = [] { return names_of(models::model_entries()); }},
                        {.name = "--input",
                         .value = "CxHxW",
                         .help = "the image, as 3x224x224; BxCxHxW for a batch"},
                        {.name = "--config",
                         .value = "FILE",
                         .help = "JSON of the network's own arguments",
                         .completes = Completes::files},
                        set_flag("one argument of the network: num_classes=10; repeatable", model_keys),
                        json_flag()},
          .run = run_summary};
}

}  // namespace fovea::cli
