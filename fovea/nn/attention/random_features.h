#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fovea::nn {

/// Directions of random features: (count, size), float64, each row normal with unit variances, a function of
/// the seed alone. With `orthogonal`, rows of each block of `size` are at right angles: Q of a normal matrix,
/// uniform by the signs of R's diagonal, times the length of a normal vector of its own.
/// Source: Choromanski et al. 2021, Rethinking attention with Performers, 2.4; Yu et al. 2016, Orthogonal
/// random features, 3.
at::Tensor random_features(int64_t count, int64_t size, bool orthogonal, uint64_t seed);

}  // namespace fovea::nn
