#include "fovea/nn/position/sinusoidal.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/stack.h>

#include <cmath>
#include <utility>

namespace fovea::nn {
namespace {

struct SinusoidalOptions {
  double base = 10000.0;

  template <class Visitor>
  static void fields(SinusoidalOptions& o, Visitor&& visit) {
    visit(OptionText{"base", "the longest wavelength over 2 pi"}, o.base, NumberAbove{1.0});
  }
};

class SinusoidalPosition : public Position {
 public:
  SinusoidalPosition(PositionKind kind, const PositionShape& shape, const SinusoidalOptions& options)
      : Position(std::move(kind), shape), base_(options.base) {
    if (shape.width % 2 != 0) {
      refuse("the width must be even, a sine and a cosine for each wavelength", std::to_string(shape.width),
             "Choose an even one.");
    }
  }

 protected:
  at::Tensor embed(const at::Tensor& x) override {
    const at::Tensor positions = at::arange(x.size(1), x.options().dtype(at::kDouble).requires_grad(false));
    return x + sinusoidal_positions(positions, shape().width, base_).to(x.scalar_type());
  }

 private:
  double base_;
};

}  // namespace

at::Tensor sinusoidal_positions(const at::Tensor& positions, int64_t width, double base) {
  const at::Tensor p = positions.to(at::kDouble), even = at::arange(0, width, 2, p.options());
  const at::Tensor angles = p.unsqueeze(-1) * (even * (-std::log(base) / static_cast<double>(width))).exp();
  return at::stack({angles.sin(), angles.cos()}, -1).flatten(-2);
}

PositionEntry sinusoidal_position() {
  return position_entry<SinusoidalPosition>(
      {"sinusoidal", "x_t + PE(t), PE(t)_2i = sin(t / base^(2i / E)), PE(t)_2i+1 = cos(the same)",
       "Vaswani et al. 2017, 3.5", "no: defined for every length, but longer ones were never seen"},
      {.place = PositionPlace::embeddings}, SinusoidalOptions{});
}

}  // namespace fovea::nn
