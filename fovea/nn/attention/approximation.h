#pragma once
#include <cstdint>
#include <string>

#include "fovea/nn/attention/attention.h"

namespace fovea::nn {

/// An approximation beside what it approximates.
struct ApproximationError {
  /// ||out - exact|| / ||exact||, Frobenius norms over all heads, and the root of its variance over seeds.
  double mean = 0.0, deviation = 0.0;
  /// Of one head, and the exact one's.
  int64_t multiply_adds = 0, exact_multiply_adds = 0;
};

/// The exact mechanism over n positions that `mechanism` approximates, as parse_attention() reads it:
/// softmax, but of lsh, whose queries are their own keys, the same without buckets.
std::string exact_form(const std::string& mechanism, int64_t n);

/// Runs `text`, as parse_attention() reads it, on the input and compares it with exact_form(). With `{seed}`
/// in the text it is run `seeds` times with the numbers from 0 on in its place, and once without. float32, no
/// gradient. Throws fovea::Error (usage) as parse_attention() and the mechanisms do, and if seeds is below 1.
ApproximationError approximation_error(const std::string& text, const AttentionInput& input, int64_t seeds);

/// `text` with each `{name}` in it replaced by the number.
std::string filled_in(std::string text, const std::string& name, int64_t number);

}  // namespace fovea::nn
