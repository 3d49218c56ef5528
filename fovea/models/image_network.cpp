#include "fovea/core/error.h"
#include "fovea/models/network.h"
#include "fovea/ops/describe.h"

namespace fovea::models {

io::TensorMap ImageNetwork::run(const io::TensorMap& tensors) {
  for (const auto& [name, tensor] : tensors) {
    if (name != "input") {
      throw data_error("run",
                       "the network takes one tensor, 'input'; found '" + name + "'. Rename or remove it.");
    }
  }
  const auto it = tensors.find("input");
  if (it == tensors.end()) throw data_error("run", "the tensor 'input' is missing; found none. Add it.");
  return {{"output", forward(it->second)}};
}

void ImageNetwork::check_images(const at::Tensor& images) const {
  const auto spec = inputs().front();
  const bool fits = images.dim() == 4 && images.size(1) == spec.shape[1] &&
                    (!fixed_size() || (images.size(2) == spec.shape[2] && images.size(3) == spec.shape[3]));
  if (fits && images.is_floating_point() && images.numel() > 0) return;
  const std::string size = fixed_size() ? std::to_string(spec.shape[2]) + ", " + std::to_string(spec.shape[3])
                                        : std::string("H, W");
  throw data_error("network", "images must be floating point of shape (B, " + std::to_string(spec.shape[1]) +
                                  ", " + size + "); found " + describe(images) +
                                  ". Set in_chans and img_size as the images are, or convert them.");
}

}  // namespace fovea::models
