#include "fovea/nn/attention/alibi.h"

#include <ATen/ops/from_blob.h>

#include <bit>
#include <cmath>
#include <vector>

namespace fovea::nn {

at::Tensor alibi_slopes(int64_t heads) {
  std::vector<float> slopes;
  const auto add = [&](int64_t of, int64_t first, int64_t step) {
    for (int64_t h = first; h < of && static_cast<int64_t>(slopes.size()) < heads; h += step) {
      slopes.push_back(std::exp2(-8.0f * static_cast<float>(h + 1) / static_cast<float>(of)));
    }
  };
  const auto below = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(heads)));
  add(below, 0, 1);
  add(2 * below, 0, 2);
  // Of numbers that are there, on the meta device too.
  return at::from_blob(slopes.data(), {heads}, at::kFloat).clone();
}

}  // namespace fovea::nn
