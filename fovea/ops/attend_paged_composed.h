#pragma once
#include "fovea/ops/attend_paged.h"

namespace fovea {

/// The definition of attend_paged() in tensor operations: gathers the keys and values of one sequence after
/// the other and gives them to attend_composed(). Any device, any type, autograd of any order. Arguments as
/// attend_paged(), which has checked them.
at::Tensor attend_paged_composed(const at::Tensor& q, const PagedCache& cache,
                                 const AttendPagedOptions& options);

}  // namespace fovea
