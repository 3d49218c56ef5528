#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "fovea/train/optimizer.h"

namespace fovea::models {
class ImageNetwork;
}

namespace fovea::train {

/// Where NaN or infinity first appears in a forward pass: `the input (image 3 of the batch)`, `the parameter
/// head.weight`, `the output of blocks.0.mlp.fc1`; empty when all is finite. Runs the network once, in its
/// present mode and with the present random state.
std::string find_nonfinite(models::ImageNetwork& model, const at::Tensor& images);

/// The parameter, nearest to the loss, whose gradient is not finite; empty when there is none.
std::string find_nonfinite_gradient(const std::vector<NamedParameter>& parameters);

}  // namespace fovea::train
