#pragma once
#include "fovea/nn/attention/lines.h"
#include "fovea/ops/attend.h"

namespace fovea::nn {

/// Whether these options say nothing of single pairs, but by functors and causal order: neither bias, mask,
/// table, segments nor blocks, and no weight is dropped or asked for.
bool says_nothing_of_pairs(const AttendOptions& options);

/// Whether attend_along() can do a call with these options: softmax, as many keys as queries, and nothing
/// that is said of pairs, but for functors.
bool can_follow_lines(const AttentionInput& input, const AttendOptions& options);

/// attend() along lines of a grid that the positions fill row by row, the last row perhaps in part, back in
/// their order. `options` are of a line, but for key_lengths.
AttendResult attend_along(const GridLines& lines, const AttentionInput& input, AttendOptions options);

}  // namespace fovea::nn
