// Optimisers against torch.optim's trajectories (scripts/parity_tests/optim_golden.py), and what surrounds a
// step: clipping, EMA, autocast, learning rates.
#include "fovea/train/optimizer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "fovea/core/error.h"
#include "fovea/io/tensors.h"
#include "fovea/train/autocast.h"
#include "fovea/train/ema.h"
#include "fovea/train/schedule.h"

namespace fovea::train {
namespace {

using nlohmann::json;

/// A weight, a bias and a position table: what decays and what does not.
struct Tiny : torch::nn::Module {
  explicit Tiny(const at::Tensor& w, const at::Tensor& b) {
    weight = register_parameter("weight", w.clone());
    bias = register_parameter("bias", b.clone());
    pos_embed = register_parameter("pos_embed", at::ones({1, 2, 3}));
    running = register_buffer("running", at::zeros({2}));
  }
  at::Tensor weight, bias, pos_embed, running;
};

io::TensorFile golden() { return io::TensorFile(FOVEA_TEST_DATA "/train/optim.safetensors"); }

class GoldenOptimizer : public testing::TestWithParam<const char*> {};

TEST_P(GoldenOptimizer, FollowsTorchOptim) {
  const io::TensorFile file = golden();
  const std::string name = GetParam();
  const TrainConfig config = config_from_json(json::parse(file.metadata().at(name)));
  const at::Tensor weights = file.load(name + ".weight"), biases = file.load(name + ".bias");
  const at::Tensor weight_grads = file.load("weight_grads"), bias_grads = file.load("bias_grads");
  const at::Tensor lrs = file.load("lrs");
  Tiny model(weights[0], biases[0]);
  Optimizer optimizer(model, config);
  for (int64_t step = 0; step < weight_grads.size(0); ++step) {
    model.weight.mutable_grad() = weight_grads[step].clone();
    model.bias.mutable_grad() = bias_grads[step].clone();
    optimizer.step(lrs[step].item<double>());
    EXPECT_TRUE(at::allclose(model.weight, weights[step + 1], 2e-6, 1e-6)) << name << " step " << step;
    EXPECT_TRUE(at::allclose(model.bias, biases[step + 1], 2e-6, 1e-6)) << name << " step " << step;
  }
  EXPECT_TRUE(model.pos_embed.equal(at::ones({1, 2, 3}))) << "a parameter without gradient must stay";
}
INSTANTIATE_TEST_SUITE_P(All, GoldenOptimizer,
                         testing::Values("sgd", "sgd_momentum", "sgd_nesterov", "adam", "adamw"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Optimizer, DecaysWeightsOnly) {
  const Tiny model(at::ones({4, 3}), at::ones({4}));
  for (const NamedParameter& parameter : trainable_parameters(model)) {
    EXPECT_EQ(parameter.decays, parameter.name == "weight") << parameter.name;
  }
}

TEST(Optimizer, L1GivesExactZerosBySoftThresholding) {
  TrainConfig config;
  config.optimizer = "sgd";
  config.momentum = 0.0;
  config.l1 = 0.5;
  const at::Tensor start = at::tensor({0.9f, -0.9f, 0.04f, -0.04f, 0.0f, 2.0f}).view({2, 3});
  Tiny model(start, at::ones({4}) * 0.01);
  Optimizer optimizer(model, config);
  model.weight.mutable_grad() = at::zeros({2, 3});
  model.bias.mutable_grad() = at::zeros({4});
  optimizer.step(0.1);  // Threshold 0.05.
  const at::Tensor expected = at::tensor({0.85f, -0.85f, 0.0f, 0.0f, 0.0f, 1.95f}).view({2, 3});
  EXPECT_TRUE(at::allclose(model.weight, expected));
  EXPECT_EQ(model.weight.eq(0).sum().item<int64_t>(), 3);
  EXPECT_TRUE(model.bias.equal(at::ones({4}) * 0.01));
}

TEST(Optimizer, L2IsCoupledForEveryRule) {
  for (const char* name : {"sgd", "adam", "adamw"}) {
    TrainConfig config;
    config.optimizer = name;
    config.l2 = 0.3;
    const at::Tensor start = at::randn({4, 3});
    Tiny with(start, at::ones({4})), by_hand(start, at::ones({4}));
    Optimizer a(with, config);
    config.l2 = 0.0;
    Optimizer b(by_hand, config);
    for (int step = 0; step < 3; ++step) {
      const at::Tensor g = at::randn({4, 3});
      with.weight.mutable_grad() = g.clone();
      by_hand.weight.mutable_grad() = g + 0.3 * by_hand.weight.detach();
      a.step(0.01);
      b.step(0.01);
    }
    EXPECT_TRUE(at::allclose(with.weight, by_hand.weight, 1e-5, 1e-6)) << name;
  }
}

TEST(Optimizer, GradientsInAnotherMemoryOrder) {
  TrainConfig config;
  config.optimizer = "sgd";
  const at::Tensor start = at::randn({4, 3, 2, 2}), gradient = at::randn({4, 3, 2, 2});
  Tiny plain(start, at::ones({4})), turned(start.contiguous(at::MemoryFormat::ChannelsLast), at::ones({4}));
  Optimizer a(plain, config), b(turned, config);
  plain.weight.mutable_grad() = gradient.clone();
  turned.weight.mutable_grad() = gradient.clone();
  a.step(0.1);
  b.step(0.1);
  EXPECT_TRUE(plain.weight.equal(turned.weight));
}

TEST(Optimizer, StateRoundTripsAndRefusesAnother) {
  TrainConfig config;
  Tiny model(at::randn({4, 3}), at::randn({4})), other(model.weight.detach(), model.bias.detach());
  Optimizer a(model, config);
  model.weight.mutable_grad() = at::randn({4, 3});
  a.step(0.1);
  other.weight.data().copy_(model.weight.data());
  Optimizer b(other, config);
  b.load_state(a.state());
  other.weight.mutable_grad() = model.weight.grad().clone();
  a.step(0.1);
  b.step(0.1);
  EXPECT_TRUE(model.weight.equal(other.weight));
  EXPECT_TRUE(a.state().contains("weight.exp_avg_sq"));
  config.optimizer = "sgd";
  Optimizer sgd(other, config);
  try {
    sgd.load_state(a.state());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::model_file);
    EXPECT_NE(std::string(error.what()).find("bias.momentum"), std::string::npos) << error.what();
  }
}

TEST(Gradients, ClipAsTorch) {
  const io::TensorFile file = golden();
  Tiny model(at::zeros({4, 3}), at::zeros({4}));
  model.weight.mutable_grad() = file.load("weight_grads")[0].clone();
  model.bias.mutable_grad() = file.load("bias_grads")[0].clone();
  const auto parameters = trainable_parameters(model);
  const double norm = gradient_norm(parameters);
  EXPECT_NEAR(norm, file.load("clip.norm").item<double>(), 1e-6);
  clip_gradients(parameters, norm, 100.0);
  EXPECT_TRUE(model.bias.grad().equal(file.load("bias_grads")[0]));
  clip_gradients(parameters, norm, 0.5);
  EXPECT_TRUE(at::allclose(model.weight.grad(), file.load("clip.weight"), 1e-6, 1e-8));
  EXPECT_TRUE(at::allclose(model.bias.grad(), file.load("clip.bias"), 1e-6, 1e-8));
}

TEST(Ema, FollowsItsFormulaAndSwaps) {
  Tiny model(at::zeros({4, 3}), at::zeros({4}));
  Ema ema(model, 0.5);
  double average = 0.0, running = 0.0;
  for (int n = 0; n < 30; ++n) {
    model.weight.data().fill_(n);
    model.running.fill_(2 * n);
    ema.update();
    const double d = std::min(0.5, (1.0 + n) / (10.0 + n));
    average += (1 - d) * (n - average);
    running += (1 - d) * (2 * n - running);
    EXPECT_NEAR(ema.averages().at("weight")[0][0].item<double>(), average, 1e-5);
    EXPECT_NEAR(ema.averages().at("running")[0].item<double>(), running, 1e-5);
  }
  {
    const EmaScope scope(&ema);
    EXPECT_NEAR(model.weight[0][0].item<double>(), average, 1e-5);
  }
  EXPECT_EQ(model.weight[0][0].item<double>(), 29.0);
  EXPECT_NEAR(ema.averages().at("weight")[0][0].item<double>(), average, 1e-5);
}

TEST(Autocast, RestoresTheStateAndSeesUpdatedWeights) {
  EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
  at::Tensor w = at::eye(2).requires_grad_();
  const at::Tensor x = at::ones({1, 2});
  for (int step = 1; step <= 2; ++step) {
    const AutocastScope scope(true);
    const at::Tensor y = at::matmul(x, w);
    EXPECT_EQ(y.scalar_type(), at::kBFloat16);
    EXPECT_EQ(y[0][0].item<float>(), static_cast<float>(step));
    w.data().mul_(2);
  }
  EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
  const AutocastScope off(false);
  EXPECT_EQ(at::matmul(x, w).scalar_type(), at::kFloat);
}

TEST(Schedule, FollowsTheFormulas) {
  TrainConfig config;
  config.lr = 0.4;
  config.min_lr = 0.1;
  config.warmup_steps = 4;
  const Schedule cosine(config, 20, 5);
  for (int64_t t = 0; t < 4; ++t) EXPECT_DOUBLE_EQ(cosine.lr(t), 0.4 * static_cast<double>(t + 1) / 4);
  EXPECT_DOUBLE_EQ(cosine.lr(4), 0.4);
  EXPECT_NEAR(cosine.lr(12), 0.25, 1e-12);
  EXPECT_NEAR(cosine.lr(19), 0.1 + 0.3 * (1 + std::cos(M_PI * 15 / 16)) / 2, 1e-12);
  EXPECT_NEAR(cosine.lr(25), 0.1, 1e-12);
  config.schedule = "step";
  config.step_size = 2;
  config.gamma = 0.5;
  config.min_lr = 0.15;
  const Schedule steps(config, 60, 5);
  EXPECT_DOUBLE_EQ(steps.lr(13), 0.4);
  EXPECT_DOUBLE_EQ(steps.lr(14), 0.2);
  EXPECT_DOUBLE_EQ(steps.lr(24), 0.15);
  config.schedule = "exponential";
  config.min_lr = 0.0;
  const Schedule exponential(config, 60, 5);
  EXPECT_NEAR(exponential.lr(4 + 7), 0.4 * std::pow(0.5, 7.0 / 5), 1e-12);
  config.schedule = "constant";
  config.warmup_steps = 0;
  config.warmup_fraction = 0.1;
  const Schedule constant(config, 60, 5);
  EXPECT_EQ(constant.warmup_steps(), 6);
  EXPECT_DOUBLE_EQ(constant.lr(0), 0.4 / 6);
  EXPECT_DOUBLE_EQ(constant.lr(59), 0.4);
}

}  // namespace
}  // namespace fovea::train
