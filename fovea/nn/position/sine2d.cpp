#include "fovea/nn/position/sine2d.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>

#include <numbers>
#include <utility>

#include "fovea/nn/position/sinusoidal.h"

namespace fovea::nn {
namespace {

struct Sine2dOptions {
  double base = 10000.0;
  bool normalize = true;

  template <class Visitor>
  static void fields(Sine2dOptions& o, Visitor&& visit) {
    visit(OptionText{"base", "the longest wavelength over 2 pi"}, o.base, NumberAbove{1.0});
    visit(OptionText{"normalize", "the sides of the grid are 2 pi long; otherwise a step is 1"}, o.normalize);
  }
};

class Sine2dPosition : public Position {
 public:
  Sine2dPosition(PositionKind kind, const PositionShape& shape, const Sine2dOptions& options)
      : Position(std::move(kind), shape), options_(options) {
    if (shape.width % 4 != 0) {
      refuse("the width must be a multiple of 4, a sine and a cosine for each wavelength of two axes",
             std::to_string(shape.width), "Choose a multiple.");
    }
  }

 protected:
  at::Tensor embed(const at::Tensor& x) override {
    const auto options = x.options().dtype(at::kDouble).requires_grad(false);
    const int64_t rows = grid().rows, columns = grid().columns;
    const at::Tensor y = axis(rows, options).unsqueeze(1).expand({rows, columns, -1}),
                     across = axis(columns, options).unsqueeze(0).expand({rows, columns, -1});
    const at::Tensor table = at::cat({y, across}, 2).flatten(0, 1);
    return x + at::constant_pad_nd(table, {0, 0, grid().prefix, 0}).to(x.scalar_type());
  }

 private:
  at::Tensor axis(int64_t length, const at::TensorOptions& options) const {
    at::Tensor place = at::arange(1, length + 1, options);
    if (options_.normalize) place = place * (2 * std::numbers::pi / (static_cast<double>(length) + 1e-6));
    return sinusoidal_positions(place, shape().width / 2, options_.base);
  }

  Sine2dOptions options_;
};

}  // namespace

PositionEntry sine2d_position() {
  return position_entry<Sine2dPosition>(
      {"sine2d", "x_t + [PE(2 pi y / rows), PE(2 pi x / columns)], PE of half the width, y and x from 1",
       "DETR (Carion et al. 2020), A.4", "yes: places are parts of the sides"},
      {.place = PositionPlace::embeddings, .needs_2d = true}, Sine2dOptions{});
}

}  // namespace fovea::nn
