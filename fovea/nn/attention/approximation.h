#pragma once
#include <cstdint>
#include <map>
#include <memory>
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

/// Approximations of exact attention over one input. What is exact is run once, however many are measured.
class Approximations {
 public:
  /// The input's numbers are read later, and must stay.
  explicit Approximations(AttentionInput input);

  /// Throws fovea::Error (usage) as parse_attention() and the mechanism's constructor do, and if it has
  /// parameters that mean nothing before training.
  void check(const std::string& text) const;

  /// Runs `text`, as parse_attention() reads it, and compares it with Attention::exact_form(). With `{seed}`
  /// in the text it is run `seeds` times with the numbers from 0 on in its place, and once without. float32,
  /// no gradient. Throws fovea::Error (usage) as check() and the mechanism do, and if seeds is below 1.
  ApproximationError error_of(const std::string& text, int64_t seeds);

 private:
  struct Exact {
    at::Tensor out;
    int64_t multiply_adds;
  };
  std::shared_ptr<Attention> built(const std::string& text) const;
  std::shared_ptr<Attention> checked(const std::string& text) const;
  int64_t products(const Attention& attention) const;
  const Exact& exact(const std::string& form);

  AttentionInput input_;
  std::map<std::string, Exact> exact_;
};

/// `text` with each `{name}` in it replaced by the number.
std::string filled_in(std::string text, const std::string& name, int64_t number);

}  // namespace fovea::nn
