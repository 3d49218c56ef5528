// A score and a mask of one's own, run inside the fused kernel.
#include "fovea/ops/attend_functors.h"

#include <ATen/ATen.h>

#include <cstdio>

#include "fovea/ops/attend.h"

// s + 1 / (1 + |q - k|): near keys count more.
struct Nearness {
  template <class V, class Q, class K>
  V operator()(V s, const fovea::At<Q, K>& at) const {
    using std::abs;
    return s + 1.0f / (fovea::to_float(abs(at.q - at.k)) + 1.0f);
  }
};

// Blocks of `size` keys, every second of them hidden.
struct Stripes : fovea::Mask {
  int32_t size;

  explicit Stripes(int32_t size) : size(size) {}

  template <class Q, class K>
  auto operator()(const fovea::At<Q, K>& at) const {
    return at.k % (2 * size) < size;
  }
  // Lets the kernel leave out what is hidden; `partial` would always be right.
  fovea::Cover cover(const fovea::TileRange& t) const {
    const bool one_block = t.k0 / size == (t.k1 - 1) / size;
    if (!one_block) return fovea::Cover::partial;
    return t.k0 / size % 2 == 0 ? fovea::Cover::full : fovea::Cover::skip;
  }
};

int main() {
  const auto q = at::randn({1, 8, 1024, 64}), k = at::randn({1, 8, 1024, 64}),
             v = at::randn({1, 8, 1024, 64});
  fovea::AttendOptions options;
  options.functors = fovea::bind(Nearness{}, Stripes(128) & fovea::Causal());
  const auto fused = fovea::attend(q, k, v, options).out;

  // In float64 the same text is the definition in tensor operations.
  const auto exact = fovea::attend(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble), options).out;
  const double error = (fused - exact).abs().max().item<double>();
  std::printf("%s, off by %.1e\n", fovea::attend_choice(q, k, v, options).name.c_str(), error);
  return error < 1e-5 ? 0 : 1;
}
