#include "fovea/cli/finite.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "fovea/core/error.h"

namespace fovea::cli {

void require_finite(const io::TensorMap& tensors, const std::string& where) {
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.is_floating_point()) continue;
    const at::Tensor bad = at::isfinite(tensor).logical_not();
    const int64_t count = bad.sum().item<int64_t>();
    if (count == 0) continue;
    const at::Tensor first = bad.nonzero()[0];
    std::vector<int64_t> place;
    for (int64_t i = 0; i < first.numel(); ++i) place.push_back(first[i].item<int64_t>());
    throw numeric_error(
        where, fmt::format("'{}' must be finite; found {} NaN or infinite of {} values, the first at "
                           "({}). Clean the values and run again.",
                           name, count, tensor.numel(), fmt::join(place, ", ")));
  }
}

}  // namespace fovea::cli
