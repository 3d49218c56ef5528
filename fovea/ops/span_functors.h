#pragma once
#include <ATen/core/Tensor.h>

#include <memory>

#include "fovea/mods/span.h"
#include "fovea/ops/attend_functors.h"

namespace fovea {

/// Weights times m_ij = clamp((ramp + span - |i - j|) / ramp, 0, 1), summed to 1 again, as a step of a call
/// for AttendOptions::functors; where m_ij is 0 the key is hidden, and tiles of such pairs are left out.
/// `spans` (B|1, H|1, 1), (B|1, H|1, N) of queries or (B|1, H|1, M) of keys, floating point, may learn;
/// `ramp` > 0. Source: Adaptive attention span in transformers (Sukhbaatar et al. 2019), equations 2 and 3.
std::shared_ptr<const AttendFunctors> soft_span(const at::Tensor& spans, SpanOf of, double ramp);

}  // namespace fovea
