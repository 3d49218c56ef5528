#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "fovea/ops/attend.h"

namespace fovea {

/// The tensors that the options of a call hold: biases, tables, masks, lengths, learned numbers.
std::vector<at::Tensor> tensors_of(const AttendOptions& options);

}  // namespace fovea
