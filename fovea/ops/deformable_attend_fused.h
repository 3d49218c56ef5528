#pragma once
#include "fovea/ops/deformable_attend.h"

namespace fovea {

/// deformable_attend() by the kernel, with autograd; gradients of gradients come from the definition.
at::Tensor deformable_attend_fused(const at::Tensor& v, const std::vector<MapShape>& maps,
                                   const at::Tensor& locations, const at::Tensor& weights);

}  // namespace fovea
