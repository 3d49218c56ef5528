#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/cli/device.h"
#include "fovea/cli/finite.h"
#include "fovea/cli/run.h"
#include "fovea/cli/settings.h"
#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/io/json_text.h"
#include "fovea/io/tensors.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/ops/attend.h"

namespace fovea::cli {
namespace {

using nlohmann::json;

/// NAME[:key=value,...]
struct Mechanism {
  std::string name;
  json options = json::object();
};

Mechanism parse_mechanism(const std::string& text) {
  const auto colon = text.find(':');
  Mechanism mechanism{.name = nn::find_mechanism(text.substr(0, colon)).name};
  if (colon == std::string::npos) return mechanism;
  std::string rest = text.substr(colon + 1);
  while (!rest.empty()) {
    const auto comma = rest.find(',');
    assign_text(mechanism.options, rest.substr(0, comma));
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
  }
  return mechanism;
}

AttendOptions attend_options(const Mechanism& mechanism) {
  AttendOptions options;
  const auto refuse = [&](const std::string& key, const char* wanted) {
    throw usage_error(mechanism.name, fmt::format("{} must be {}; found {}. Correct it after the colon.", key,
                                                  wanted, io::show_json(mechanism.options[key])));
  };
  for (const auto& [key, value] : mechanism.options.items()) {
    if (key == "causal") {
      if (!value.is_boolean()) refuse(key, "true or false");
      if (value.get<bool>()) options.causal = CausalAlignment::top_left;
    } else if (key == "scale") {
      if (!value.is_number()) refuse(key, "a number");
      options.scale = value.get<double>();
    } else {
      throw usage_error(mechanism.name,
                        fmt::format("unknown option '{}'. {}", key,
                                    suggest_name(key, {"causal", "scale"}, "It takes causal and scale.")));
    }
  }
  return options;
}

const at::Tensor& wanted(const io::TensorMap& tensors, const std::string& name, const std::string& file) {
  const auto found = tensors.find(name);
  if (found != tensors.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [other, tensor] : tensors) names.push_back(other);
  throw data_error(
      file, fmt::format("the tensor '{}' is missing. {}", name,
                        suggest_name(name, names, "Store q, k, v (B, H, T, D) and, if wanted, mask.")));
}

void refuse_strangers(const io::TensorMap& tensors, const std::string& file) {
  for (const auto& [name, tensor] : tensors) {
    if (name == "q" || name == "k" || name == "v" || name == "mask") continue;
    throw data_error(
        file, fmt::format("the tensor '{}' has no meaning here. {}", name,
                          suggest_name(name, {"q", "k", "v", "mask"}, "Store q, k, v and mask only.")));
  }
}

// Shapes and types that do not fit are the file's fault, not the call's.
at::Tensor attend_from(const std::string& file, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       const AttendOptions& options) {
  try {
    return attend(q, k, v, options).out;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    throw data_error(file, message_of(error));
  }
}

int run_mechanism(const Call& call) {
  apply_device_and_threads(call);
  const Mechanism mechanism = parse_mechanism(*call.get("MECHANISM"));
  AttendOptions options = attend_options(mechanism);
  if (call.has("--list-weights")) {
    if (call.has("--json")) {
      print("{\"weights\":[]}\n");
    } else {
      note(fmt::format("'{}' has no weights.", mechanism.name));
    }
    return 0;
  }
  if (call.has("--weights")) {
    throw usage_error(call.command(),
                      fmt::format("'{}' has no parameters. Leave --weights out.", mechanism.name));
  }
  const std::string input = required(call, "--input"), output = required(call, "--output");
  const io::TensorMap tensors = load_input(input);
  refuse_strangers(tensors, input);
  if (tensors.contains("mask")) options.mask = tensors.at("mask");
  const c10::NoGradGuard no_grad;
  const at::Tensor &q = wanted(tensors, "q", input), &k = wanted(tensors, "k", input),
                   &v = wanted(tensors, "v", input);
  const io::TensorMap result = {{"out", attend_from(input, q, k, v, options)}};
  // Not the inputs: what a masked key holds has no influence, NaN included.
  require_finite(result, "run mechanism");
  io::save_tensors(output, result);
  return 0;
}

}  // namespace

Command run_mechanism_command() {
  return {
      .name = "mechanism",
      .help = "run an attention mechanism on q, k, v (B, H, T, D) and an optional mask (true = may attend)",
      .example = "fovea run mechanism softmax:causal=true --input qkv.safetensors --output out.safetensors",
      .arguments = {{.name = "MECHANISM",
                     .help = "NAME[:key=value,...] of `fovea list mechanisms`",
                     .required = true,
                     .names = [] { return names_of(nn::mechanism_entries()); }},
                    tensors_flag("--input", "q, k, v and, if wanted, mask"),
                    tensors_flag("--output", "where `out` goes"),
                    tensors_flag("--weights", "for mechanisms with parameters"),
                    {.name = "--list-weights", .help = "print the names of the parameters and stop"},
                    threads_flag(),
                    device_flag(),
                    json_flag()},
      .run = run_mechanism};
}

}  // namespace fovea::cli
