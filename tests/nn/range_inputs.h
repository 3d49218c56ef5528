#pragma once
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <time.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>

#include "fovea/nn/attention/registry.h"

// What tests of mechanisms that skip work have in common.

namespace fovea::nn::range {

inline constexpr int64_t kWide = 10;

/// For evaluation, of rows x of kWide numbers.
template <class Mechanism>
std::shared_ptr<Mechanism> made(const std::string& text, int64_t heads, int64_t size) {
  auto attention = parse_attention(text).build({heads, heads, size, size, kWide});
  attention->eval();
  return std::dynamic_pointer_cast<Mechanism>(attention);
}

/// Drawn operands.
inline AttentionInput rows_of(int64_t batch, int64_t heads, int64_t length, int64_t size,
                              at::ScalarType type = at::kFloat) {
  AttentionInput input;
  const auto draw = [&] { return at::randn({batch, heads, length, size}, type); };
  input.q = draw(), input.k = draw(), input.v = draw();
  input.x = at::randn({batch, length, kWide}, type);
  return input;
}

/// The best of a few, of this thread's processor time.
inline double seconds_of(Attention& attention, const AttentionInput& input) {
  const torch::NoGradGuard no_grad;
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto now = [] {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  };
  double best = std::numeric_limits<double>::infinity();
  for (int run = 0; run < 5; ++run) {
    const double start = now();
    attention.forward(input);
    best = std::min(best, now() - start);
  }
  at::set_num_threads(threads);
  return best;
}

}  // namespace fovea::nn::range
