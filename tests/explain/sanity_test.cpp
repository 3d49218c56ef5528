// Tests that hold for every method: a trained network's maps sit on the object, and change with its weights.
#include "fovea/explain/sanity.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/core/error.h"
#include "tests/explain/networks.h"

namespace fovea::explain {
namespace {

TEST(Sanity, RankCorrelationEqualsSpearmans) {
  const auto a = at::tensor({1.0, 2.0, 3.0, 4.0, 5.0}), b = at::tensor({5.0, 6.0, 7.0, 8.0, 7.0});
  EXPECT_NEAR(rank_correlation(a, b), 0.8207826816681233, 1e-12);  // scipy.stats.spearmanr
  EXPECT_NEAR(rank_correlation(a, a.exp()), 1, 1e-12);
  EXPECT_NEAR(rank_correlation(a, -a), -1, 1e-12);
  EXPECT_EQ(rank_correlation(a, at::ones({5})), 0);
  EXPECT_THROW(rank_correlation(a, at::ones({4})), Error);
  EXPECT_NEAR(mass_inside(at::tensor({1.0, 3.0}), at::tensor({0, 1}).to(at::kBool)), 0.75, 1e-12);
}

struct Scenes {
  at::Tensor images, labels, inside;
};

// A filled or a hollow bright square somewhere on dim noise; `inside` is the square and one pixel around it.
Scenes make_scenes(int64_t n, uint64_t seed) {
  at::manual_seed(seed);
  Scenes scenes{at::rand({n, 1, 16, 16}) * 0.2 - 0.1, at::randint(2, {n}, at::kLong),
                at::zeros({n, 16, 16}, at::kBool)};
  const auto corners = at::randint(1, 9, {n, 2}, at::kLong);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t y = corners[i][0].item<int64_t>(), x = corners[i][1].item<int64_t>();
    at::Tensor square = scenes.images[i][0].narrow(0, y, 6).narrow(1, x, 6);
    square.add_(1);
    if (scenes.labels[i].item<int64_t>() == 1) square.narrow(0, 2, 2).narrow(1, 2, 2).sub_(1);
    scenes.inside[i].narrow(0, y - 1, 8).narrow(1, x - 1, 8).fill_(true);
  }
  return scenes;
}

// Adam (Kingma and Ba 2015) on cross entropy.
void train(models::ImageNetwork& net, int64_t steps, double lr) {
  at::set_num_threads(1);  // sums over threads differ in their last digits, and 150 steps make much of them
  net.train();
  const auto parameters = net.parameters();
  std::vector<at::Tensor> m, v;
  for (const auto& p : parameters) m.push_back(at::zeros_like(p)), v.push_back(at::zeros_like(p));
  for (int64_t step = 1; step <= steps; ++step) {
    const Scenes batch = make_scenes(32, 1000 + static_cast<uint64_t>(step));
    net.zero_grad();
    at::cross_entropy_loss(net.forward(batch.images), batch.labels).backward();
    const at::NoGradGuard no_grad;
    for (size_t i = 0; i < parameters.size(); ++i) {
      const at::Tensor& g = parameters[i].grad();
      m[i].mul_(0.9).add_(g, 0.1);
      v[i].mul_(0.99).addcmul_(g, g, 0.01);
      const double scale = lr * std::sqrt(1 - std::pow(0.99, step)) / (1 - std::pow(0.9, step));
      parameters[i].detach().addcdiv_(m[i], v[i].sqrt() + 1e-8, -scale);
    }
  }
  net.eval();
}

struct Looks {
  double accuracy = 0, mass = 0, correlation = 0;
};

// Mean over scenes of the share of the map on the object, and of the correlation with a randomised network's
// map.
Looks look(models::ImageNetwork& net, const std::string& method, const Scenes& scenes) {
  Looks looks;
  const auto explainer = make_explainer(method);
  const int64_t n = scenes.labels.size(0);
  for (int64_t i = 0; i < n; ++i) {
    const auto image = scenes.images.slice(0, i, i + 1);
    const auto found = explainer->explain(net, image);
    looks.accuracy += found.target == scenes.labels[i].item<int64_t>();
    looks.mass += mass_inside(found.map, scenes.inside[i]);
    looks.correlation +=
        randomisation_correlation(*explainer, net, image, found.target, static_cast<uint64_t>(i));
  }
  return {looks.accuracy / double(n), looks.mass / double(n), looks.correlation / double(n)};
}

// What a trained network's maps must reach: measured values with room to spare.
struct Bar {
  std::string method;
  double mass, correlation;
};

void expect_looks(models::ImageNetwork& net, const std::vector<Bar>& bars) {
  const Scenes test = make_scenes(12, 7);
  for (const auto& bar : bars) {
    const Looks looks = look(net, bar.method, test);
    EXPECT_GE(looks.accuracy, 0.9) << bar.method;
    EXPECT_GT(looks.mass, bar.mass) << bar.method;
    EXPECT_LT(looks.correlation, bar.correlation) << bar.method;
  }
}

// The object and its rim are 64 of 256 pixels: a map that looks nowhere in particular has mass 0.25.
TEST(TrainedNetwork, ResNetLooksAtTheObject) {
  const auto net = small_resnet();
  train(*net, 60, 3e-3);
  expect_looks(*net, {{"gradcam", 0.36, 0.6},
                      {"gradcam++", 0.36, 0.9},
                      {"saliency", 0.4, 0.5},
                      {"integrated_gradients:steps=16", 0.7, 0.8},
                      {"occlusion", 0.7, 0.5}});
}

TEST(TrainedNetwork, TransformerLooksAtTheObject) {
  const auto net = small_vit();
  train(*net, 150, 2e-3);
  expect_looks(
      *net, {{"rollout", 0.5, 0.4}, {"attention", 0.6, 0.4}, {"gradcam", 0.5, 0.6}, {"saliency", 0.5, 0.4}});
}

TEST(Sanity, RandomisedWeightsComeBack) {
  const auto net = small_vit();
  std::vector<at::Tensor> before;
  for (const auto& p : net->parameters()) before.push_back(p.detach().clone());
  {
    const RandomisedScope scope(*net, 1);
    EXPECT_FALSE(at::equal(net->parameters().back(), before.back()) &&
                 at::equal(net->parameters()[3], before[3]));
  }
  for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(at::equal(net->parameters()[i], before[i]));
}

}  // namespace
}  // namespace fovea::explain
