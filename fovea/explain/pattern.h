#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "fovea/io/image.h"

namespace fovea::explain {

/// Who takes how much of whom: what a mechanism makes of a small sequence that is always the same.
struct Pattern {
  /// (H, N, N), row i is what query i takes of the values; 0 where it may not see.
  at::Tensor weights;
  /// The same in causal order; undefined where the mechanism has none, or knows no other.
  at::Tensor causal;
};

/// Runs NAME[:key=value,...] over 64 positions whose values are the rows of the identity, so that the result,
/// less that of values of 0, is the weights: of any mechanism, exact or estimated, that can show them or not.
///   out_ij = sum_l weights_il [l = j]
/// Positions hold one of four kinds, in runs of four (ABACBDACDBCADBDC), and a wave by which near ones are
/// more alike; with 64 channels, scores q_i . k_j / sqrt(D) are about 4 within a run, 3 of one kind and 0 of
/// two. They are queries, keys and the rows before projection, and lie in a grid of 8 x 8; the keys of head h
/// are h runs further on. Parameters are those of seed 0 with normal noise of 0.1, by which layers that start
/// at 0 do something. heads: 1 ... 16. Throws fovea::Error (usage) on a mechanism that there is not, does not
/// run so or wants a mask of blocks, (numeric) on weights that are not finite.
Pattern mechanism_pattern(const std::string& mechanism, int64_t heads = 1);

/// The pattern as a picture: a panel of 4 x 4 pixels a weight for each head, the first query on top; behind
/// it, or below where heads are several, those in causal order; then the colour scale. A weight of exactly 0
/// is light grey, others are viridis in 64 steps from the lowest (0, if none is negative) to the highest of
/// all keys; the first rows of causal order, which have few keys, may be beyond it and are as bright.
io::Image pattern_picture(const Pattern& pattern);

}  // namespace fovea::explain
