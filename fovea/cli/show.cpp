#include <nlohmann/json.hpp>

#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/cli/device.h"
#include "fovea/explain/pattern.h"
#include "fovea/io/image.h"
#include "fovea/nn/attention/registry.h"

namespace fovea::cli {
namespace {

int show_mechanism(const Call& call) {
  apply_device_and_threads(call);
  const std::string mechanism = *call.get("MECHANISM"), output = *call.get("--output");
  const auto pattern = explain::mechanism_pattern(mechanism, call.get_int("--heads", 1).value_or(1));
  io::write_png(output, explain::pattern_picture(pattern));
  if (call.has("--json")) {
    print_json({{"mechanism", mechanism}, {"picture", output}, {"causal", pattern.causal.defined()}});
  } else {
    print(output + "\n");
  }
  return 0;
}

Command show_mechanism_command() {
  return {.name = "mechanism",
          .help =
              "draw who takes how much of whom: the weights that a mechanism gives to 64 positions of four "
              "kinds, of all keys and in causal order",
          .example = "fovea show mechanism longformer:window=4,global=2 --output pattern.png",
          .arguments = {{.name = "MECHANISM",
                         .help = "NAME[:key=value,...] of `fovea list mechanisms`",
                         .required = true,
                         .names = [] { return names_of(nn::attention_entries()); }},
                        {.name = "--output",
                         .value = "FILE",
                         .help = "the picture, a .png",
                         .required = true,
                         .completes = Completes::files,
                         .ending = ".png"},
                        {.name = "--heads",
                         .value = "N",
                         .help = "a panel for each head, at most 16 (default: 1)"},
                        threads_flag(),
                        device_flag(),
                        json_flag()},
          .run = show_mechanism};
}

}  // namespace

Command show_command() {
  return {.name = "show",
          .help = "pictures of what Fovea knows by name",
          .example = "fovea show mechanism local:window=8 --output local.png",
          .commands = {show_mechanism_command()}};
}

}  // namespace fovea::cli
