#include "fovea/cli/mechanism_input.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "fovea/cli/run.h"
#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/nn/attention/registry.h"
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

}  // namespace

const at::Tensor& wanted_tensor(const io::TensorMap& tensors, const std::string& name,
                                const std::string& file) {
  const auto found = tensors.find(name);
  if (found != tensors.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [other, tensor] : tensors) names.push_back(other);
  throw data_error(
      file, fmt::format("the tensor '{}' is missing. {}", name,
                        suggest_name(name, names,
                                     "Store q, k, v (B, H, T, D), or x (B, T, E), and, if wanted, mask.")));
}

namespace {

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
  return std::pair(wanted_tensor(tensors, first, file), wanted_tensor(tensors, second, file));
}

bool takes_blocks(const std::string& mechanism) {
  const auto& options = nn::find_attention(mechanism).options;
  return std::any_of(options.begin(), options.end(), [](const auto& o) { return o.name == "block"; });
}

}  // namespace

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
  if (block && !tensors.contains("block_mask")) {
    throw data_error(file,
                     "the option block goes with a tensor block_mask; found none. Store it, or leave "
                     "block out.");
  }
  if (!block && tensors.contains("block_mask")) {
    const std::string name = attention.mechanism();
    throw data_error(file,
                     "the tensor block_mask goes with the option block; found none. " +
                         (takes_blocks(name) ? "Write " + name + ":block=64 where a block is 64 positions."
                                             : "Leave it out: " + name + " takes no such mask."));
  }
  if (block) call.blocks = AttendBlocks{tensors.at("block_mask"), *block};
  return call;
}

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

void require_heads(const nn::AttentionInput& in, bool packed, const std::string& file) {
  const int64_t dims = packed ? 3 : 4;
  if (in.q.dim() == dims && in.k.dim() == dims && in.v.dim() == dims) return;
  throw data_error(file, fmt::format("q, k and v must be {}; found q {}, k {}, v {}. Reshape them.",
                                     packed ? "(total, H, D) beside cu_seqlens" : "(B, H, T, D)",
                                     fovea::describe(in.q), fovea::describe(in.k), fovea::describe(in.v)));
}

io::TensorMap load_mechanism_input(const std::string& file) {
  io::TensorMap tensors = load_input(file);
  refuse_strangers(tensors, file);
  refuse_types(tensors, file);
  return tensors;
}

}  // namespace fovea::cli
