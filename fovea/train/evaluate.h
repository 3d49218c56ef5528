#pragma once
#include <ATen/core/Tensor.h>

#include "fovea/train/metrics.h"

namespace fovea::data {
class Loader;
}
namespace fovea::models {
class ImageNetwork;
}

namespace fovea::train {

/// Metrics of a network on one pass of a loader (from its first batch), in evaluation mode, float32, without
/// gradients. The mode of the network is restored. `roc_auc` keeps all probabilities and sorts them at the
/// end. Throws fovea::Error (data) when the loader has no images.
ClassificationMetrics evaluate(models::ImageNetwork& model, data::Loader& loader, bool roc_auc = false);

/// Probabilities (B, classes), float32, of images (B, C, H, W) that are normalised as in training.
at::Tensor predict(models::ImageNetwork& model, const at::Tensor& images);

}  // namespace fovea::train
