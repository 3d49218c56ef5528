// Kernel regression is attention: a curve is estimated from noisy points by how near they are, with a kernel
// of fixed width and with one that learns it. Writes kernel_regression.svg and the weights as
// kernel_regression.png into the folder that is given, or the current one.
#include <ATen/ATen.h>
#include <torch/optim/sgd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>

#include "examples/arguments.h"
#include "fovea/explain/charts.h"
#include "fovea/explain/heatmap.h"
#include "fovea/io/file.h"
#include "fovea/io/image.h"
#include "fovea/nn/attention/nadaraya_watson.h"

using fovea::nn::NadarayaWatson;

at::Tensor curve(const at::Tensor& x) { return 2 * x.sin() + x.pow(0.8); }

// Each point is estimated from the others.
double learn_width(NadarayaWatson& regression, const at::Tensor& points, const at::Tensor& values) {
  torch::optim::SGD optimizer(regression->parameters(), 0.5);
  at::Tensor loss;
  for (int step = 0; step < 100; ++step) {
    optimizer.zero_grad();
    loss = (regression->forward(points, points, values, /*leave_out=*/true) - values).square().mean();
    loss.backward();
    optimizer.step();
  }
  return std::abs(regression->w.item<double>());
}

fovea::explain::Series series(const char* name, const at::Tensor& x, const at::Tensor& y) {
  fovea::explain::Series line{name, {}};
  for (int64_t i = 0; i < x.size(0); ++i) {
    line.points.push_back({x[i].item<double>(), y.flatten()[i].item<double>()});
  }
  return line;
}

// Dots: a gap after each.
fovea::explain::Series scattered(const char* name, const at::Tensor& x, const at::Tensor& y) {
  fovea::explain::Series dots{name, {}};
  for (const auto& point : series(name, x, y).points)
    dots.points.push_back(point), dots.points.push_back({NAN, NAN});
  return dots;
}

// Six pixels a number.
at::Tensor enlarged(const at::Tensor& weights) {
  const at::Tensor map = fovea::explain::normalise_map(weights, /*from_zero=*/true).map;
  return map.repeat_interleave(6, 0).repeat_interleave(6, 1);
}

double error(const at::Tensor& found, const at::Tensor& truth) {
  return (found - truth).square().mean().sqrt().item<double>();
}

int main(int argc, char** argv) {
  const auto folder = Arguments(argc, argv, "example_kernel_regression [FOLDER]").folder;
  at::manual_seed(1);
  const at::Tensor points = std::get<0>(at::rand({50, 1}).mul(5).sort(0));
  const at::Tensor values = curve(points) + 0.5 * at::randn({50, 1});
  const at::Tensor x = at::arange(0, 5, 0.05).unsqueeze(1), truth = curve(x);

  NadarayaWatson fixed(/*learned=*/false), learned;
  const double w = learn_width(learned, points, values);
  const torch::NoGradGuard no_grad;
  const at::Tensor average = values.mean().expand_as(truth), by_fixed = fixed->forward(x, points, values),
                   by_learned = learned->forward(x, points, values);
  std::printf(
      "error of the average %.3f, of the kernel of width 1 %.3f, of the learned one (w = %.2f) %.3f\n",
      error(average, truth), error(by_fixed, truth), w, error(by_learned, truth));

  fovea::explain::LineChart chart;
  chart.title = "Kernel regression", chart.x_label = "x", chart.y_label = "y";
  chart.series = {series("the curve", x, truth), scattered("points", points, values),
                  series("average", x, average), series("w = 1", x, by_fixed),
                  series("learned w", x, by_learned)};
  fovea::io::write_atomically(folder / "kernel_regression.svg", fovea::explain::line_chart_file(chart));
  const at::Tensor maps = at::cat({fixed->weights(points, points), learned->weights(points, points)}, 1);
  fovea::io::write_png(folder / "kernel_regression.png", fovea::explain::colourise(enlarged(maps)));
  const bool better =
      error(by_learned, truth) < error(by_fixed, truth) && error(by_fixed, truth) < error(average, truth);
  return exit_code(better && w > 1, "a learned width errs less than 1, and 1 less than the average");
}
