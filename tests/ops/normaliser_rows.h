#pragma once
#include <ATen/ATen.h>

#include "fovea/ops/attend_normalisers.h"

namespace fovea::test {

/// Of rows (..., M) by themselves.
inline at::Tensor weights_of_rows(const AttendNormaliser& normaliser, const at::Tensor& rows) {
  return normalise(normaliser, rows.reshape({1, 1, -1, rows.size(-1)}), {}).view(rows.sizes());
}

/// The root of sum_j max(z_j - tau, 0)^power = 1 by bisection, which neither sorts nor sums prefixes.
inline at::Tensor by_bisection(const at::Tensor& z, double power) {
  at::Tensor low = z.amax(-1, true) - 1, high = z.amax(-1, true);
  for (int step = 0; step < 60; ++step) {
    const at::Tensor middle = (low + high) / 2;
    const at::Tensor enough = (z - middle).clamp_min(0).pow(power).sum(-1, true) >= 1;
    low = at::where(enough, middle, low);
    high = at::where(enough, high, middle);
  }
  return (z - low).clamp_min(0).pow(power);
}

}  // namespace fovea::test
