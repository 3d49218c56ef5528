#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <variant>

#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/cli/device.h"
#include "fovea/cli/finite.h"
#include "fovea/cli/run.h"
#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/io/tensors.h"
#include "fovea/nn/attention/mechanism.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/ops/additive_attend.h"
#include "fovea/ops/attend_packed.h"

namespace fovea::cli {
namespace {

// What a file of tensors may hold beside q, k and v, and where it goes.
struct Place {
  const char* name;
  std::optional<at::Tensor> AttendOptions::*option;
};
constexpr Place kPlaces[] = {{"mask", &AttendOptions::mask},
                             {"bias", &AttendOptions::bias},
                             {"alibi_slopes", &AttendOptions::alibi_slopes},
                             {"relative_table", &AttendOptions::relative_table},
                             {"key_lengths", &AttendOptions::key_lengths}};

std::vector<std::string> input_names() {
  std::vector<std::string> names = {"q", "k", "v"};
  for (const auto& place : kPlaces) names.emplace_back(place.name);
  for (const char* pair : {"query_segments", "key_segments", "cu_seqlens_q", "cu_seqlens_k", "block_mask"}) {
    names.emplace_back(pair);
  }
  return names;
}

// The parameters of a mechanism, and whether it runs without.
struct Parameter {
  const char* name = nullptr;
  bool needed = false;
};

Parameter parameter_of(const nn::Mechanism& mechanism) {
  if (mechanism.is_additive()) return {"w", true};
  if (std::holds_alternative<SoftmaxSink>(mechanism.options.normaliser)) return {"sinks", false};
  return {};
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

void refuse_strangers(const io::TensorMap& tensors, const std::vector<std::string>& known,
                      const std::string& file) {
  for (const auto& [name, tensor] : tensors) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    throw data_error(
        file, fmt::format("the tensor '{}' has no meaning here. {}", name,
                          suggest_name(name, known, fmt::format("Store {} only.", fmt::join(known, ", ")))));
  }
}

// Two tensors that mean something together only.
std::optional<std::pair<at::Tensor, at::Tensor>> pair_of(const io::TensorMap& tensors, const char* first,
                                                         const char* second, const std::string& file) {
  if (!tensors.contains(first) && !tensors.contains(second)) return std::nullopt;
  return std::pair(wanted(tensors, first, file), wanted(tensors, second, file));
}

AttendOptions options_of(const nn::Mechanism& mechanism, const io::TensorMap& tensors,
                         const std::string& file) {
  // Heads stand second in (B, H, T, D), and in (total, H, D) of sequences behind each other.
  const at::Tensor& q = wanted(tensors, "q", file);
  AttendOptions options = nn::attend_options(mechanism, q.dim() > 1 ? q.size(1) : 1);
  for (const auto& place : kPlaces) {
    if (tensors.contains(place.name)) options.*place.option = tensors.at(place.name);
  }
  if (const auto ids = pair_of(tensors, "query_segments", "key_segments", file)) {
    options.segments = AttendSegments{ids->first, ids->second};
  }
  if (tensors.contains("block_mask") != mechanism.block.has_value()) {
    throw data_error(file,
                     "the tensor block_mask and the option block go together; found one of them. Write " +
                         mechanism.name + ":block=64 where a block is 64 positions.");
  }
  if (mechanism.block) options.blocks = AttendBlocks{tensors.at("block_mask"), *mechanism.block};
  return options;
}

// `parameter`: of parameter_of(), or undefined. Shapes and types that do not fit are the file's fault, not
// the call's.
at::Tensor attend_from(const std::string& file, const nn::Mechanism& mechanism, const io::TensorMap& tensors,
                       const at::Tensor& parameter) {
  AttendOptions options = options_of(mechanism, tensors, file);
  const at::Tensor &q = wanted(tensors, "q", file), &k = wanted(tensors, "k", file),
                   &v = wanted(tensors, "v", file);
  const auto offsets = pair_of(tensors, "cu_seqlens_q", "cu_seqlens_k", file);
  if (auto* sink = std::get_if<SoftmaxSink>(&options.normaliser); sink && parameter.defined()) {
    sink->scores = parameter;
  }
  try {
    if (mechanism.is_additive() && offsets) {
      throw usage_error("additive",
                        "additive attention takes no sequences behind each other; found cu_seqlens_q. "
                        "Leave them out.");
    }
    if (mechanism.is_additive()) return additive_attend(q, k, v, parameter, options).out;
    return offsets ? attend_packed(q, k, v, offsets->first, offsets->second, options)
                   : attend(q, k, v, options).out;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    throw data_error(file, message_of(error));
  }
}

int list_weights(const Call& call, const nn::Mechanism& mechanism) {
  const Parameter parameter = parameter_of(mechanism);
  if (call.has("--json")) {
    nlohmann::ordered_json names = nlohmann::ordered_json::array();
    if (parameter.name) names.push_back(parameter.name);
    print_json({{"weights", names}});
  } else if (parameter.name) {
    print(fmt::format("{}\n", parameter.name));
  } else {
    note(fmt::format("'{}' has no weights.", mechanism.name));
  }
  return 0;
}

// Undefined where there is none, or none is given.
at::Tensor load_parameter(const Call& call, const nn::Mechanism& mechanism) {
  const Parameter parameter = parameter_of(mechanism);
  const auto file = call.get("--weights");
  if (!file) {
    if (!parameter.needed) return {};
    throw usage_error(call.command(), fmt::format("'{}' has the parameter {}. Give it by --weights FILE.",
                                                  mechanism.name, parameter.name));
  }
  if (!parameter.name) {
    throw usage_error(call.command(),
                      fmt::format("'{}' has no parameters. Leave --weights out.", mechanism.name));
  }
  const io::TensorMap tensors = io::load_tensors(*file);
  refuse_strangers(tensors, {parameter.name}, *file);
  return wanted(tensors, parameter.name, *file);
}

int run_mechanism(const Call& call) {
  apply_device_and_threads(call);
  const nn::Mechanism mechanism = nn::parse_mechanism(*call.get("MECHANISM"));
  if (call.has("--list-weights")) return list_weights(call, mechanism);
  const at::Tensor parameter = load_parameter(call, mechanism);
  const std::string input = required(call, "--input"), output = required(call, "--output");
  const io::TensorMap tensors = load_input(input);
  refuse_strangers(tensors, input_names(), input);
  const c10::NoGradGuard no_grad;
  const io::TensorMap result = {{"out", attend_from(input, mechanism, tensors, parameter)}};
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
      .example =
          "fovea run mechanism softmax:causal=true,window=256 --input qkv.safetensors --output "
          "out.safetensors",
      .arguments = {{.name = "MECHANISM",
                     .help = "NAME[:key=value,...] of `fovea list mechanisms` and `fovea list options`",
                     .required = true,
                     .names = [] { return names_of(nn::mechanism_entries()); }},
                    tensors_flag("--input", "q, k, v and, if wanted, mask, bias, relative_table, ..."),
                    tensors_flag("--output", "where `out` goes"),
                    tensors_flag("--weights", "for mechanisms with parameters"),
                    {.name = "--list-weights", .help = "print the names of the parameters and stop"},
                    threads_flag(),
                    device_flag(),
                    json_flag()},
      .run = run_mechanism};
}

}  // namespace fovea::cli
