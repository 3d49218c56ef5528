#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "fovea/data/dataset.h"

namespace fovea::data {

/// Which of a CIFAR-100 image's two labels is the class.
enum class CifarLabels { fine, coarse };

/// CIFAR-10 from data_batch_1.bin ... data_batch_5.bin and test_batch.bin in `folder` or in its
/// cifar-10-batches-bin. A record is 1 label byte and 3,072 bytes of a 3 x 32 x 32 image. val is null.
/// Throws Error (data) naming the file and the fault: missing, a size that is no whole number of records, a
/// label out of range. Source: Krizhevsky, Learning multiple layers of features from tiny images (2009);
/// www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
Splits open_cifar10(const std::filesystem::path& folder);

/// CIFAR-100 from train.bin and test.bin in `folder` or in its cifar-100-binary; a record starts with the
/// coarse and the fine label. Otherwise as open_cifar10.
Splits open_cifar100(const std::filesystem::path& folder, CifarLabels labels = CifarLabels::fine);

}  // namespace fovea::data
