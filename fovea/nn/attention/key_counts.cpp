#include "fovea/nn/attention/key_counts.h"

#include "fovea/core/error.h"
#include "fovea/ops/describe.h"
#include "fovea/ops/hidden_keys.h"

namespace fovea::nn {
namespace {

const std::optional<at::Tensor>& checked_lengths(const std::string& mechanism, const AttentionInput& input) {
  const auto& lengths = input.call.key_lengths;
  if (!lengths) return lengths;
  if (!lengths->defined() || !at::isIntegralType(lengths->scalar_type(), /*includeBool=*/false) ||
      !lengths->sizes().equals({input.k.size(0)})) {
    throw usage_error(mechanism, "key_lengths must be integers of shape (B)",
                      describe(*lengths) + " with k " + describe(input.k),
                      "Give each batch entry its number of keys.");
  }
  return lengths;
}

}  // namespace

std::optional<at::Tensor> key_counts(const std::string& mechanism, const AttentionInput& input) {
  const auto& lengths = checked_lengths(mechanism, input);
  if (!lengths) return std::nullopt;
  return lengths->to(at::kCPU, at::kLong).clamp(0, input.k.size(2)).contiguous();
}

at::Tensor hidden_keys(const std::string& mechanism, const AttentionInput& input) {
  const auto& lengths = checked_lengths(mechanism, input);
  return lengths ? keys_beyond(*lengths, input.k) : at::Tensor();
}

}  // namespace fovea::nn
