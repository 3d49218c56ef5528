#include "fovea/ops/attend_dropout.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

#include "fovea/core/random.h"

namespace fovea {

uint64_t draw_seed() { return static_cast<uint64_t>(at::empty({}, at::kLong).random_().item<int64_t>()); }

kernels::Dropout dropout_of(const AttendOptions& options) {
  constexpr double kSteps = 65536;
  const auto threshold = static_cast<uint32_t>(std::lround(options.dropout_p * kSteps));
  if (threshold == 0) return {};
  const double dropped = std::min<double>(threshold, kSteps - 1) / kSteps;
  return {options.seed.value_or(0), static_cast<uint32_t>(dropped * kSteps),
          static_cast<float>(1.0 / (1.0 - dropped))};
}

at::Tensor dropout_factors(const at::Tensor& weights, const kernels::Dropout& dropout) {
  const at::Tensor factors = at::empty(weights.sizes(), at::kFloat);
  auto* out = factors.mutable_data_ptr<float>();
  const auto word = [](int64_t n) { return static_cast<uint32_t>(n); };
  for (int64_t row = 0, rows = weights.size(0) * weights.size(1) * weights.size(2); row < rows; ++row) {
    const int64_t q = row % weights.size(2), head = row / weights.size(2) % weights.size(1),
                  batch = row / weights.size(2) / weights.size(1), slice = q % 128 / 16;
    for (int64_t k = 0; k < weights.size(3); ++k) {
      const auto words =
          philox(dropout.seed, {word(q / 128 * 16 + q % 16), word(k), word(head), word(batch)});
      const uint32_t bits = words[slice / 2] >> (slice % 2 * 16) & 0xffffu;
      *out++ = bits >= dropout.threshold ? dropout.scale : 0.0f;
    }
  }
  return factors.to(weights.options().requires_grad(false));
}

}  // namespace fovea
