#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fovea/nn/attention/options.h"

namespace fovea::nn {

/// How frequencies are changed for inputs longer than those of the training: not; all divided (position
/// interpolation); low ones divided, with a ramp between low and high that is linear in wavelengths a length
/// (llama3) or in the frequency's number (yarn).
enum class RotaryScaling { none, linear, llama3, yarn };

struct RotaryFrequencyOptions {
  double base = 10000.0;
  RotaryScaling scaling = RotaryScaling::none;
  std::optional<double> factor;
  std::optional<int64_t> original_length;
  double low_freq_factor = 1.0, high_freq_factor = 4.0;
  double beta_fast = 32.0, beta_slow = 1.0;
  std::optional<double> attention_factor;

  template <class Visitor>
  static void fields(RotaryFrequencyOptions& o, Visitor& visit) {
    constexpr const char* kLlama = "LLaMA 3 (Llama Team 2024), 3.4.2, and its published code";
    constexpr const char* kYarn = "YaRN (Peng et al. 2023), 3.2 to 3.4";
    visit(OptionText{"base", "theta; 500000 in LLaMA 3"}, o.base, NumberAbove{1.0});
    visit(OptionText{"scaling", "of frequencies, for inputs longer than those of the training",
                     "linear: Chen et al. 2023, Extending context window by position interpolation, 2.3"},
          o.scaling,
          Choice<RotaryScaling>{{"none", RotaryScaling::none},
                                {"linear", RotaryScaling::linear},
                                {"llama3", RotaryScaling::llama3},
                                {"yarn", RotaryScaling::yarn}});
    visit(OptionText{"factor", "by which scaled frequencies are divided"}, o.factor, NumberAbove{});
    visit(OptionText{"original_length", "positions of the training, for llama3 and yarn"}, o.original_length,
          WholeFrom{1});
    visit(OptionText{"low_freq_factor", "periods in original_length up to which llama3 divides", kLlama},
          o.low_freq_factor, NumberAbove{});
    visit(OptionText{"high_freq_factor", "periods in original_length from which llama3 does not", kLlama},
          o.high_freq_factor, NumberAbove{});
    visit(OptionText{"beta_fast", "periods in original_length from which yarn does not divide", kYarn},
          o.beta_fast, NumberAbove{});
    visit(OptionText{"beta_slow", "periods in original_length up to which yarn divides", kYarn}, o.beta_slow,
          NumberAbove{});
    visit(OptionText{"attention_factor", "yarn's factor on q and on k; 0.1 ln(factor) + 1 when left out",
                     kYarn},
          o.attention_factor, NumberAbove{});
  }
  /// Throws fovea::Error (usage) where values do not go together.
  void check(const std::string& where) const;
};

/// Angles a position, and a factor on q and on k.
struct RotaryFrequencies {
  std::vector<double> angles;
  double amplitude = 1.0;
};

/// Of `size` numbers, even: angles[i] = base^(-2 i / size) for i < size / 2, scaled as `options` say.
/// Source: RoFormer (Su et al. 2021), 3.2.2; scaling: see RotaryFrequencyOptions.
RotaryFrequencies rotary_frequencies(const RotaryFrequencyOptions& options, int64_t size);

}  // namespace fovea::nn
