// A score that learns and a mask of one's own, run inside the fused kernel, forward and backward.
#include "fovea/ops/attend_functors.h"

#include <ATen/ATen.h>

#include <cstdio>

#include "fovea/ops/attend.h"

// s + strength_h / (1 + |q - k|): near keys count more, how much is learned for each head.
struct Nearness {
  fovea::Table<float> strength;

  template <class V, class Q, class K>
  V operator()(V s, const fovea::At<Q, K>& at) const {
    return s + load(strength, at.head) / distance(at);
  }

  // What it learns, and where the gradient by its result goes.
  const fovea::Table<float>& learned() const { return strength; }
  template <class V, class Q, class K>
  void learn(V gradient, V, const fovea::At<Q, K>& at, const fovea::TableSums& sums) const {
    add(sums, at.head, gradient / distance(at));
  }

 private:
  template <class Q, class K>
  static auto distance(const fovea::At<Q, K>& at) {
    using std::abs;
    return fovea::to_float(abs(at.q - at.k)) + 1.0f;
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
  const auto strength = at::ones({8}).requires_grad_();
  fovea::AttendOptions options;
  options.functors = fovea::bind(Nearness{fovea::float_table(strength)}, Stripes(128) & fovea::Causal());
  const auto fused = fovea::attend(q, k, v, options).out;
  fused.square().sum().backward();
  const at::Tensor learned = strength.grad().clone();

  // In float64 the same text is the definition in tensor operations.
  strength.mutable_grad().reset();
  const auto exact = fovea::attend(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble), options).out;
  exact.square().sum().backward();
  const double error = (fused - exact).abs().max().item<double>(),
               gradient_error = ((learned - strength.grad()).norm() / strength.grad().norm()).item<double>();
  std::printf("%s, off by %.1e, gradient of the strengths by %.1e\n",
              fovea::attend_choice(q, k, v, options).name.c_str(), error, gradient_error);
  return error < 1e-5 && gradient_error < 1e-4 ? 0 : 1;
}
