#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "fovea/explain/view.h"
#include "fovea/io/image.h"
#include "fovea/tasks/classify.h"

namespace fovea::cli {

/// What `classifier` says of one image (1, C, H, W), titled `title`. `methods` and `target` as
/// explain::ViewOptions.
explain::ImageView view_image(const tasks::Classifier& classifier, const at::Tensor& input,
                              const std::string& title, const std::vector<std::string>& methods = {},
                              int64_t target = -1);

/// What the network saw: the resized, cut image, from its normalised form (1, C, H, W).
io::Image seen_image(const tasks::Classifier& classifier, const at::Tensor& input);

/// `model.name` of the configuration.
std::string model_name(const tasks::Classifier& classifier);

}  // namespace fovea::cli
