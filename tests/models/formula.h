#pragma once
#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <string>

#include "fovea/models/weights.h"

namespace fovea::models {

// Weights as a pure function of (name, index), the same in Python: scripts/parity_tests/formula.py says why.

inline uint64_t fnv1a(const std::string& text) {
  uint64_t value = 0xCBF29CE484222325;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return value;
}

// SplitMix64; multiples of 2^-24 in [0, 1).
inline double formula_uniform(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  z ^= z >> 31;
  return static_cast<double>(z >> 40) / 16777216.0;
}

// value = offset + scale u, u uniform in [0, 1).
inline std::pair<double, double> formula_range(const std::string& name, const at::Tensor& t) {
  const std::string last = name.substr(name.rfind('.') + 1);
  if (last == "num_batches_tracked") return {0.0, 0.0};
  if (last == "running_var") return {0.5, 1.0};
  if (last == "running_mean" || last == "bias") return {-0.1, 0.2};
  if (last == "cls_token" || last == "pos_embed") return {-0.5, 1.0};
  if (last == "input") return {-1.5, 3.0};
  if (t.dim() <= 1) return {0.75, 0.5};
  const double gain = t.dim() == 4 ? 6.0 : 3.0;
  const double half = std::sqrt(gain * static_cast<double>(t.size(0)) / static_cast<double>(t.numel()));
  return {-half, 2.0 * half};
}

inline void fill_by_formula(const std::string& name, at::Tensor t) {
  const auto [offset, scale] = formula_range(name, t);
  if (!t.is_floating_point()) {
    t.zero_();
    return;
  }
  const uint64_t seed = fnv1a(name);
  float* data = t.data_ptr<float>();
  for (int64_t i = 0; i < t.numel(); ++i) {
    data[i] = static_cast<float>(offset + scale * formula_uniform(seed, static_cast<uint64_t>(i)));
  }
}

// Whether it is the weight of the norm that ends a residual block's branch: bn3, or bn2 where there is none.
inline bool is_last_norm(const std::string& name, const io::TensorMap& all) {
  if (name.ends_with(".bn3.weight")) return true;
  const std::string bn2 = ".bn2.weight";
  return name.ends_with(bn2) && !all.contains(name.substr(0, name.size() - bn2.size()) + ".bn3.weight");
}

// The weights of the norms that end the branches are multiplied by `last_norm`.
inline void fill_by_formula(torch::nn::Module& module, double last_norm = 1.0) {
  const at::NoGradGuard no_grad;
  const io::TensorMap all = state_dict(module);
  for (const auto& [name, tensor] : all) {
    fill_by_formula(name, tensor);
    if (is_last_norm(name, all)) tensor.mul_(last_norm);
  }
}

}  // namespace fovea::models
