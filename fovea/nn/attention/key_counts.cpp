#include "fovea/nn/attention/key_counts.h"

#include "fovea/core/error.h"
#include "fovea/ops/describe.h"

namespace fovea::nn {

std::optional<at::Tensor> key_counts(const std::string& mechanism, const AttentionInput& input) {
  const auto& lengths = input.call.key_lengths;
  if (!lengths) return std::nullopt;
  if (!lengths->defined() || !at::isIntegralType(lengths->scalar_type(), /*includeBool=*/false) ||
      !lengths->sizes().equals({input.k.size(0)})) {
    throw usage_error(mechanism, "key_lengths must be integers of shape (B)",
                      describe(*lengths) + " with k " + describe(input.k),
                      "Give each batch entry its number of keys.");
  }
  return lengths->to(at::kCPU, at::kLong).clamp(0, input.k.size(2)).contiguous();
}

}  // namespace fovea::nn
