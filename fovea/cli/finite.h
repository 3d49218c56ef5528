#pragma once
#include <string>

#include "fovea/io/tensors.h"

namespace fovea::cli {

/// Throws Error (numeric) when a floating tensor holds a NaN or an infinity, naming the tensor, how many, and
/// the place of the first. `where` is the file or the step that they come from.
void require_finite(const io::TensorMap& tensors, const std::string& where);

}  // namespace fovea::cli
