#include "fovea/nn/attention/nadaraya_watson.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/optim/sgd.h>

#include "tests/support/errors.h"

namespace fovea::nn {
namespace {

// y = 2 sin x + x^0.8 + noise at points of [0, 5).
struct Curve {
  at::Tensor x, y, truth;

  explicit Curve(int64_t points) {
    x = std::get<0>((at::rand({points}) * 5).sort()).unsqueeze(1);
    truth = 2 * x.sin() + x.pow(0.8);
    y = truth + at::randn_like(x) * 0.5;
  }
};

TEST(NadarayaWatson, EqualsItsFormula) {
  at::manual_seed(1);
  const at::Tensor x = at::randn({7, 3}), points = at::randn({11, 3}), values = at::randn({11, 2});
  NadarayaWatson kernel;
  const torch::NoGradGuard no_grad;
  kernel->w.fill_(1.7);
  const at::Tensor e = (-(1.7 * (x.unsqueeze(1) - points)).square().sum(2) / 2).exp(),
                   weights = e / e.sum(1, true);
  EXPECT_LT((kernel->weights(x, points) - weights).abs().max().item<double>(), 1e-5);
  EXPECT_LT((kernel->forward(x, points, values) - at::matmul(weights, values)).abs().max().item<double>(),
            1e-5);
}

TEST(NadarayaWatson, LeavesEachPointOut) {
  at::manual_seed(2);
  const Curve curve(9);
  NadarayaWatson kernel(false);
  EXPECT_TRUE(kernel->parameters().empty());
  EXPECT_EQ(kernel->weights(curve.x, curve.x, true).diag().abs().max().item<double>(), 0.0);
}

// The learned kernel is the narrower, and nearer to the curve than w = 1; both beat the mean of all.
TEST(NadarayaWatson, LearnsANarrowerKernel) {
  at::manual_seed(3);
  const Curve curve(60);
  NadarayaWatson kernel;
  torch::optim::SGD optimiser(kernel->parameters(), torch::optim::SGDOptions(0.5));
  for (int step = 0; step < 60; ++step) {
    optimiser.zero_grad();
    (kernel->forward(curve.x, curve.x, curve.y, true) - curve.y).square().mean().backward();
    optimiser.step();
  }
  const auto error = [&](const at::Tensor& estimate) {
    return (estimate - curve.truth).square().mean().item<double>();
  };
  EXPECT_GT(kernel->w.item<double>(), 1.5);
  const double learned = error(kernel->forward(curve.x, curve.x, curve.y)),
               fixed = error(NadarayaWatson(false)->forward(curve.x, curve.x, curve.y));
  EXPECT_LT(learned, fixed);
  EXPECT_LT(fixed, error(curve.y.mean().expand_as(curve.y)));
}

TEST(NadarayaWatson, RefusesShapes) {
  NadarayaWatson kernel;
  const at::Tensor x = at::zeros({4, 2}), y = at::zeros({5, 2});
  expect_error(ErrorKind::usage, {"[nadaraya_watson]", "x must be (N, D)"},
               [&] { kernel->forward(x, y, x); });
  expect_error(ErrorKind::usage, {"must be the same (N, D)"}, [&] { kernel->forward(x, y, y, true); });
}

}  // namespace
}  // namespace fovea::nn
