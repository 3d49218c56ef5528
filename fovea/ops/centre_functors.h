#pragma once
#include <ATen/core/Tensor.h>

#include <memory>

#include "fovea/mods/centre.h"
#include "fovea/ops/attend_functors.h"

namespace fovea {

/// Keys with |j - centres_i| <= window, as a step of a call for AttendOptions::functors; tiles of other pairs
/// are left out, the more the nearer centres of neighbours are: where they rise, `order` says so. `centres`
/// (B, H, N), floating point, in positions; a centre that is no number sees nothing, and stands last.
/// Source: Effective approaches to attention-based neural machine translation (Luong et al. 2015), 3.2
/// (local-p).
std::shared_ptr<const AttendFunctors> near_centres(const at::Tensor& centres, double window,
                                                   CentreOrder order = CentreOrder::any);

/// The same keys, weighted by exp(-(j - centres_i)^2 / (2 sigma^2)) too, sigma > 0, and summed to 1 again;
/// centres may learn.   Source: as near_centres(), equation 10.
std::shared_ptr<const AttendFunctors> around_centres(const at::Tensor& centres, double window, double sigma,
                                                     CentreOrder order = CentreOrder::any);

}  // namespace fovea
