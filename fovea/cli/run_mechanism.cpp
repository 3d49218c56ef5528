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
#include "fovea/cli/run.h"
#include "fovea/core/error.h"
#include "fovea/core/isa.h"
#include "fovea/core/listed.h"
#include "fovea/core/nearest.h"
#include "fovea/io/tensors.h"
#include "fovea/models/weights.h"
#include "fovea/nn/attention/multi_head_attention.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/meta_device.h"
#include "fovea/ops/describe.h"

namespace fovea::cli {
namespace {

// What a file of tensors may hold beside q, k and v, and where it goes.
struct Place {
  const char* name;
  std::optional<at::Tensor> nn::AttentionCall::*member;
};
constexpr Place kPlaces[] = {{"mask", &nn::AttentionCall::mask},
                             {"bias", &nn::AttentionCall::bias},
                             {"alibi_slopes", &nn::AttentionCall::alibi_slopes},
                             {"relative_table", &nn::AttentionCall::relative_table},
                             {"relative_keys", &nn::AttentionCall::relative_keys},
                             {"key_lengths", &nn::AttentionCall::key_lengths}};

std::vector<std::string> input_names() {
  std::vector<std::string> names = {"q", "k", "v", "x", "context"};
  for (const auto& place : kPlaces) names.emplace_back(place.name);
  for (const char* other :
       {"query_segments", "key_segments", "cu_seqlens_q", "cu_seqlens_k", "block_mask", "grid"}) {
    names.emplace_back(other);
  }
  return names;
}

const at::Tensor& wanted(const io::TensorMap& tensors, const std::string& name, const std::string& file) {
  const auto found = tensors.find(name);
  if (found != tensors.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [other, tensor] : tensors) names.push_back(other);
  throw data_error(
      file, fmt::format("the tensor '{}' is missing. {}", name,
                        suggest_name(name, names,
                                     "Store q, k, v (B, H, T, D), or x (B, T, E), and, if wanted, mask.")));
}

void refuse_strangers(const io::TensorMap& tensors, const std::string& file) {
  const std::vector<std::string> known = input_names();
  for (const auto& [name, tensor] : tensors) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    throw data_error(
        file, fmt::format("the tensor '{}' has no meaning here. {}", name,
                          suggest_name(name, known, fmt::format("Store {} only.", fmt::join(known, ", ")))));
  }
}

void refuse_types(const io::TensorMap& tensors, const std::string& file) {
  constexpr at::ScalarType kTypes[] = {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble};
  for (const char* name : {"q", "k", "v", "x", "context"}) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) continue;
    if (std::find(std::begin(kTypes), std::end(kTypes), found->second.scalar_type()) != std::end(kTypes))
      continue;
    throw data_error(file,
                     fmt::format("the tensor '{}' must be float32, bfloat16, float16 or float64; found {}. "
                                 "Convert it before it is stored.",
                                 name, fovea::describe(found->second)));
  }
  const auto x = tensors.find("x"), context = tensors.find("context");
  if (x == tensors.end() || context == tensors.end()) return;
  if (x->second.scalar_type() != context->second.scalar_type()) {
    throw data_error(file,
                     fmt::format("x and context must be of one type; found {} and {}. Convert one of them.",
                                 fovea::describe(x->second), fovea::describe(context->second)));
  }
}

// Two tensors that mean something together only.
std::optional<std::pair<at::Tensor, at::Tensor>> pair_of(const io::TensorMap& tensors, const char* first,
                                                         const char* second, const std::string& file) {
  if (!tensors.contains(first) && !tensors.contains(second)) return std::nullopt;
  return std::pair(wanted(tensors, first, file), wanted(tensors, second, file));
}

bool takes_blocks(const std::string& mechanism) {
  const auto& options = nn::find_attention(mechanism).options;
  return std::any_of(options.begin(), options.end(), [](const auto& o) { return o.name == "block"; });
}

// `block`: see Attention::block().
nn::AttentionCall call_of(const io::TensorMap& tensors, const std::string& file,
                          const nn::Attention& attention) {
  nn::AttentionCall call;
  for (const auto& place : kPlaces) {
    if (tensors.contains(place.name)) call.*place.member = tensors.at(place.name);
  }
  if (const auto ids = pair_of(tensors, "query_segments", "key_segments", file)) {
    call.segments = AttendSegments{ids->first, ids->second};
  }
  if (const auto offsets = pair_of(tensors, "cu_seqlens_q", "cu_seqlens_k", file)) {
    call.packed = nn::PackedOffsets{offsets->first, offsets->second};
  }
  const auto block = attention.block();
  if (tensors.contains("block_mask") != block.has_value()) {
    const std::string name = attention.mechanism();
    throw data_error(file,
                     "the tensor block_mask and the option block go together; found one of them. " +
                         (takes_blocks(name) ? "Write " + name + ":block=64 where a block is 64 positions."
                                             : "Leave it out: " + name + " takes no such mask."));
  }
  if (block) call.blocks = AttendBlocks{tensors.at("block_mask"), *block};
  return call;
}

// Of q, k and v; what is wrong with them is said when they are used. Heads stand second in (B, H, T, D), and
// in (total, H, D) of sequences behind each other.
nn::AttentionShape shape_of(const nn::AttentionInput& in) {
  const auto size = [](const at::Tensor& t, int64_t dim) {
    return t.dim() > 1 ? std::max<int64_t>(t.size(dim), 1) : 1;
  };
  return {size(in.q, 1), size(in.k, 1), size(in.q, -1), size(in.v, -1)};
}

// Rows, columns and, if there are any, tokens before them.
std::optional<nn::GridPositions> grid_of(const io::TensorMap& tensors, const std::string& file) {
  const auto found = tensors.find("grid");
  if (found == tensors.end()) return std::nullopt;
  const at::Tensor& grid = found->second;
  if (grid.dim() != 1 || grid.numel() < 2 || grid.numel() > 3 || grid.is_floating_point()) {
    throw data_error(file,
                     fmt::format("the tensor 'grid' must hold rows, columns and, if there are any, tokens "
                                 "before them, as integers; found {}. Store 2 or 3 numbers.",
                                 fovea::describe(grid)));
  }
  const at::Tensor numbers = grid.to(at::kCPU, at::kLong);
  const auto number = [&](int64_t place) { return numbers[place].item<int64_t>(); };
  return nn::GridPositions{number(0), number(1), grid.numel() == 3 ? number(2) : 0};
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
    if (weighs) required(call, "--weights");
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
  nn::AttentionInput input;
  input.q = wanted(tensors, "q", file);
  input.k = wanted(tensors, "k", file);
  input.v = wanted(tensors, "v", file);
  input.grid = grid_of(tensors, file);
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
  try {
    return tensors.contains("x") ? attend_rows(call, tensors, file)
                                 : attend_operands(call, plan, tensors, file);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    throw data_error(file, message_of(error));
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
  const io::TensorMap tensors = load_input(input);
  refuse_strangers(tensors, input);
  refuse_types(tensors, input);
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
