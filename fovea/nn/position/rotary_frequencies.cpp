#include "fovea/nn/position/rotary_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "fovea/core/error.h"

namespace fovea::nn {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

// Divided below low_freq_factor periods in the original length, kept above high_freq_factor, mixed between.
double llama3_angle(const RotaryFrequencyOptions& o, double angle) {
  const double periods = static_cast<double>(*o.original_length) * angle / kTurn;
  const double kept =
      std::clamp((periods - o.low_freq_factor) / (o.high_freq_factor - o.low_freq_factor), 0.0, 1.0);
  return (1 - kept) * angle / *o.factor + kept * angle;
}

// The number i, of `size` / 2 and not whole, of the frequency with so many periods in the original length.
double yarn_number(const RotaryFrequencyOptions& o, int64_t size, double periods) {
  return static_cast<double>(size) * std::log(static_cast<double>(*o.original_length) / (periods * kTurn)) /
         (2 * std::log(o.base));
}

double yarn_angle(const RotaryFrequencyOptions& o, int64_t size, int64_t i, double angle) {
  const auto last = static_cast<double>(size - 1);
  const double low = std::max(std::floor(yarn_number(o, size, o.beta_fast)), 0.0);
  double high = std::min(std::ceil(yarn_number(o, size, o.beta_slow)), last);
  // As published: a ramp of no length becomes a step.
  if (low == high) high += 0.001;
  const double divided = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
  return divided * angle / *o.factor + (1 - divided) * angle;
}

}  // namespace

void RotaryFrequencyOptions::check(const std::string& where) const {
  const bool scaled = scaling != RotaryScaling::none,
             by_length = scaling == RotaryScaling::llama3 || scaling == RotaryScaling::yarn;
  if (scaled != factor.has_value()) {
    throw usage_error(where, "scaling and factor go together", scaled ? "no factor" : "no scaling",
                      "Write for example scaling=linear,factor=4.");
  }
  if (by_length && !original_length) {
    throw usage_error(where, "llama3 and yarn rest on the length of the training", "no original_length",
                      "Write for example original_length=8192.");
  }
  if (low_freq_factor >= high_freq_factor) {
    throw usage_error(where, "low_freq_factor must be below high_freq_factor",
                      shown(low_freq_factor) + " and " + shown(high_freq_factor), "The usual are 1 and 4.");
  }
  if (beta_slow >= beta_fast) {
    throw usage_error(where, "beta_slow must be below beta_fast",
                      shown(beta_slow) + " and " + shown(beta_fast), "The usual are 1 and 32.");
  }
}

RotaryFrequencies rotary_frequencies(const RotaryFrequencyOptions& o, int64_t size) {
  RotaryFrequencies result;
  for (int64_t i = 0; i < size / 2; ++i) {
    double angle = std::pow(o.base, -2.0 * static_cast<double>(i) / static_cast<double>(size));
    if (o.scaling == RotaryScaling::linear) angle /= *o.factor;
    if (o.scaling == RotaryScaling::llama3) angle = llama3_angle(o, angle);
    if (o.scaling == RotaryScaling::yarn) angle = yarn_angle(o, size, i, angle);
    result.angles.push_back(angle);
  }
  if (o.scaling == RotaryScaling::yarn) {
    result.amplitude = o.attention_factor.value_or(*o.factor <= 1 ? 1.0 : 0.1 * std::log(*o.factor) + 1.0);
  }
  return result;
}

}  // namespace fovea::nn
