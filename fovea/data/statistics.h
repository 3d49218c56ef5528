#pragma once
#include <cstdint>
#include <vector>

#include "fovea/data/dataset.h"

namespace fovea::data {

/// Mean and standard deviation per channel of pixel values in [0, 1]: what images are normalised with.
struct DataStatistics {
  std::vector<double> mean, std;
};

/// Statistics over all pixels: mean = sum x / n, std = sqrt(sum x^2 / n - mean^2), exact integer sums. A
/// channel that never varies gets std 1, so that normalising it gives 0 and not NaN. Sets in memory are read
/// whole; of others at most `max_images`, evenly spaced (0 = all). Give it the training part.
/// Throws Error (data) for an empty set or images that differ in channels.
DataStatistics compute_statistics(const Dataset& dataset, int64_t max_images = 2000);

/// What networks pre-trained on ImageNet were normalised with. Source: torchvision, models' documentation.
DataStatistics imagenet_statistics();

}  // namespace fovea::data
