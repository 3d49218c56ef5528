#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/cli/device.h"
#include "fovea/cli/finite.h"
#include "fovea/cli/mechanism_input.h"
#include "fovea/cli/run.h"
#include "fovea/core/error.h"
#include "fovea/core/isa.h"
#include "fovea/core/listed.h"
#include "fovea/io/tensors.h"
#include "fovea/models/weights.h"
#include "fovea/nn/attention/multi_head_attention.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/meta_device.h"
#include "fovea/ops/describe.h"

namespace fovea::cli {
namespace {

// Of q, k and v; what is wrong with them is said when they are used. Heads stand second in (B, H, T, D), and
// in (total, H, D) of sequences behind each other.
nn::AttentionShape shape_of(const nn::AttentionInput& in) {
  const auto size = [](const at::Tensor& t, int64_t dim) {
    return t.dim() > 1 ? std::max<int64_t>(t.size(dim), 1) : 1;
  };
  return {size(in.q, 1), size(in.k, 1), size(in.q, -1), size(in.v, -1)};
}

// Projections of rows, and the mechanism between them.
nn::MultiHeadAttention make_host(int64_t heads, const std::string& mechanism, int64_t width,
                                 int64_t context_width, const std::optional<nn::GridPositions>& grid) {
  nn::MultiHeadAttentionOptions options;
  options.grid = grid;
  options.embed_dim = width;
  options.num_heads = heads;
  options.kdim = options.vdim = context_width;
  options.attention = mechanism;
  return nn::MultiHeadAttention(options);
}

// The names of weights are those of any number of heads. A network of as many as a user may write has sizes
// beyond 64 bits.
constexpr int64_t kMostListedHeads = 4096;
// Of the heads that are listed: room for options that say how much of it is used.
constexpr int64_t kListedHeadSize = 65536;

int64_t heads_of(const Call& call) { return call.get_int("--heads", 1).value_or(1); }

int64_t listed_heads(const Call& call) { return std::min(heads_of(call), kMostListedHeads); }

// The mechanism of a call without numbers: what it has and needs does not depend on other sizes than heads.
std::shared_ptr<nn::Attention> sketched(const Call& call, const nn::AttentionPlan& plan) {
  const nn::MetaDeviceScope meta;
  nn::AttentionShape shape;
  shape.heads = shape.kv_heads = listed_heads(call);
  shape.head_dim = shape.value_dim = kListedHeadSize;
  shape.width = 1;
  shape.grid = nn::GridPositions{1, 1, 0};
  return plan.build(shape);
}

// Of parameters, then of buffers.
std::vector<std::string> state_names(const torch::nn::Module& module) {
  std::vector<std::string> names = module.named_parameters().keys();
  for (const auto& name : module.named_buffers().keys()) names.push_back(name);
  return names;
}

// With --heads, rows are projected too.
std::vector<std::string> weight_names(const Call& call, const nn::AttentionPlan& plan) {
  const auto attention = sketched(call, plan);
  if (!call.has("--heads") && !attention->traits().needs_x) return state_names(*attention);
  const nn::MetaDeviceScope meta;
  const int64_t heads = listed_heads(call), width = heads * kListedHeadSize;
  return state_names(*make_host(heads, *call.get("MECHANISM"), width, width, nn::GridPositions{1, 1, 0}));
}

int list_weights(const Call& call, const nn::AttentionPlan& plan) {
  const auto names = weight_names(call, plan);
  if (call.has("--json")) {
    print_json({{"weights", names}});
  } else if (names.empty()) {
    note(fmt::format("'{}' has no weights.", plan.entry->name));
  } else {
    print(fmt::format("{}\n", fmt::join(names, "\n")));
  }
  return 0;
}

std::string way_without_weights(const nn::AttentionEntry& entry) {
  const bool can = std::any_of(entry.options.begin(), entry.options.end(),
                               [](const nn::OptionDoc& option) { return option.name == "learned"; });
  return can ? fmt::format(", or write {}:learned=false", entry.name) : "";
}

// Of q, k and v.
void require_weights(const Call& call, const nn::AttentionPlan& plan, const nn::Attention& attention) {
  if (call.has("--weights") && state_names(attention).empty()) {
    throw usage_error(call.command(),
                      fmt::format("'{}' has no weights. Leave --weights out.", plan.entry->name));
  }
  if (!call.has("--weights") && !attention.runs_untrained()) {
    const auto names = attention.named_parameters().keys();
    const bool many = names.size() > 1;
    throw usage_error(call.command(), fmt::format("'{}' has the parameter{} {}. Give {} by --weights FILE{}.",
                                                  plan.entry->name, many ? "s" : "", fmt::join(names, ", "),
                                                  many ? "them" : "it", way_without_weights(*plan.entry)));
  }
}

// Names all that the file lacks at once, and weights with it.
void require_all(const Call& call, const nn::AttentionPlan& plan, const io::TensorMap& tensors,
                 const std::string& file) {
  const auto attention = sketched(call, plan);
  const bool rows = tensors.contains("x");
  std::vector<std::string> needs, remedies;
  if (attention->traits().needs_x && !rows) {
    needs.emplace_back("rows before projection");
    remedies.emplace_back("Store x (B, T, E) in the place of q, k and v.");
  }
  if (attention->traits().needs_2d && !tensors.contains("grid")) {
    needs.emplace_back("a grid");
    remedies.emplace_back("Store rows and columns as `grid`.");
  }
  const bool weighs = rows || attention->traits().needs_x;
  if (needs.empty()) {
    if (weighs && !call.has("--weights")) {
      throw usage_error(call.command(),
                        "rows x are projected by weights. Give by --weights FILE what --list-weights names.");
    }
    if (!weighs) require_weights(call, plan, *attention);
    return;
  }
  if (!call.has("--weights") && (weighs || !attention->runs_untrained())) {
    needs.emplace_back("weights");
    remedies.emplace_back("Give by --weights FILE what --list-weights names.");
  }
  std::vector<std::string> found;
  for (const auto& [name, tensor] : tensors) found.push_back(name);
  throw data_error(file,
                   fmt::format("'{}' needs {}; found {}. {}", plan.entry->name, listed(needs, "and"),
                               found.empty() ? "no tensor" : listed(found, "and"), fmt::join(remedies, " ")));
}

// What is no parameter has a value already, which a file may leave out.
io::TensorMap state_of(const std::string& file, const torch::nn::Module& module) {
  io::TensorMap tensors = io::load_tensors(file);
  for (const auto& item : module.named_buffers()) tensors.try_emplace(item.key(), item.value());
  return tensors;
}

void load_into(torch::nn::Module& module, const io::TensorMap& tensors, const std::string& file) {
  models::load_state(module, tensors, {.name = "'" + file + "'"});
}

// A parameter with a part for each head may be given once for all.
void load_parameters(const std::string& file, nn::Attention& attention) {
  io::TensorMap tensors = state_of(file, attention);
  for (const auto& item : attention.named_parameters()) {
    const auto found = tensors.find(item.key());
    if (found == tensors.end()) continue;
    const auto sizes = item.value().sizes();
    if (found->second.sizes().equals(sizes.slice(1))) found->second = found->second.expand(sizes);
  }
  load_into(attention, tensors, file);
}

at::Tensor attend_operands(const Call& call, const nn::AttentionPlan& plan, const io::TensorMap& tensors,
                           const std::string& file) {
  if (tensors.contains("context")) {
    throw data_error(file,
                     "context goes with x only; found it beside q, k and v. Leave it out: k and v are "
                     "what the queries attend to.");
  }
  nn::AttentionInput input;
  input.q = wanted_tensor(tensors, "q", file);
  input.k = wanted_tensor(tensors, "k", file);
  input.v = wanted_tensor(tensors, "v", file);
  input.grid = grid_of(tensors, file);
  require_heads(input, tensors.contains("cu_seqlens_q"), file);
  nn::AttentionShape shape = shape_of(input);
  shape.grid = input.grid;
  const auto attention = plan.build(shape);
  input.call = call_of(tensors, file, *attention);
  if (const auto weights = call.get("--weights")) load_parameters(*weights, *attention);
  if (input.q.is_floating_point()) attention->to(input.q.scalar_type());
  attention->eval();
  return attention->forward(input).out;
}

at::Tensor attend_rows(const Call& call, const io::TensorMap& tensors, const std::string& file) {
  const at::Tensor& x = tensors.at("x");
  const at::Tensor& context = tensors.contains("context") ? tensors.at("context") : x;
  const auto width = [](const at::Tensor& t) { return t.dim() > 0 ? t.size(-1) : 0; };
  if (tensors.contains("q") || tensors.contains("k") || tensors.contains("v")) {
    throw data_error(file, "x stands in the place of q, k and v; found both. Leave one out.");
  }
  if (width(x) % heads_of(call) != 0) {
    throw data_error(file,
                     fmt::format("--heads must divide the width of x; found {} and {}. Choose a divisor.",
                                 heads_of(call), fovea::describe(x)));
  }
  nn::MultiHeadAttention host =
      make_host(heads_of(call), *call.get("MECHANISM"), width(x), width(context), grid_of(tensors, file));
  const std::string weights = required(call, "--weights");
  load_into(*host, state_of(weights, *host), weights);
  if (x.is_floating_point()) host->to(x.scalar_type());
  host->eval();
  return host->forward(x, context, context, call_of(tensors, file, *host->attention)).out;
}

// Shapes and types that do not fit are the file's fault, not the call's.
at::Tensor attend_from(const Call& call, const nn::AttentionPlan& plan, const io::TensorMap& tensors,
                       const std::string& file) {
  require_all(call, plan, tensors, file);
  if (call.has("--heads") && !tensors.contains("x")) {
    throw usage_error(call.command(),
                      "--heads is of rows x; found q, k and v, which have their heads. Leave "
                      "it out.");
  }
  try {
    return tensors.contains("x") ? attend_rows(call, tensors, file)
                                 : attend_operands(call, plan, tensors, file);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    throw data_error(file, placed_message_of(error));
  }
}

int run_mechanism(const Call& call) {
  apply_device_and_threads(call);
  // Errors in FOVEA_ISA and --heads are none of the file's.
  active_isa();
  heads_of(call);
  const nn::AttentionPlan plan = nn::parse_attention(*call.get("MECHANISM"));
  if (call.has("--list-weights")) return list_weights(call, plan);
  const std::string input = required(call, "--input"), output = required(call, "--output");
  const io::TensorMap tensors = load_mechanism_input(input);
  const c10::NoGradGuard no_grad;
  const io::TensorMap result = {{"out", attend_from(call, plan, tensors, input)}};
  // Not the inputs: what a masked key holds has no influence, NaN included.
  require_finite(result, "run mechanism");
  io::save_tensors(output, result);
  return 0;
}

}  // namespace

Command run_mechanism_command() {
  return {
      .name = "mechanism",
      .help =
          "run an attention mechanism on q, k, v (B, H, T, D), or on rows x (B, T, E) between projections",
      .example =
          "fovea run mechanism softmax:causal=true,window=256 --input qkv.safetensors --output "
          "out.safetensors",
      .arguments = {{.name = "MECHANISM",
                     .help = "NAME[:key=value,...] of `fovea list mechanisms`; `fovea list mechanisms NAME` "
                             "shows its keys",
                     .required = true,
                     .names = [] { return names_of(nn::attention_entries()); }},
                    tensors_flag("--input", "q, k, v, or x, and, if wanted, mask, bias, relative_table, ..."),
                    tensors_output_flag("where `out` goes"),
                    tensors_flag("--weights", "for mechanisms with parameters or buffers, and for rows x"),
                    {.name = "--heads",
                     .value = "N",
                     .help = "heads that rows x are projected to (default: 1)"},
                    {.name = "--list-weights", .help = "print the names of parameters and buffers and stop"},
                    threads_flag(),
                    device_flag(),
                    json_flag()},
      .run = run_mechanism};
}

}  // namespace fovea::cli
