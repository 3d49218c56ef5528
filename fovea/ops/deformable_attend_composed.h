#pragma once
#include "fovea/ops/deformable_attend.h"

namespace fovea {

/// The definition of deformable_attend() in tensor operations: any device, any type, autograd of any order.
/// Arguments as there, checked. O(B H N P D) memory for the largest of the maps.
at::Tensor deformable_attend_composed(const at::Tensor& v, const std::vector<MapShape>& maps,
                                      const at::Tensor& locations, const at::Tensor& weights);

}  // namespace fovea
