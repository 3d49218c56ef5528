#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "fovea/nn/activation_checkpoint.h"
#include "fovea/nn/attention/hard.h"
#include "fovea/nn/attention/registry.h"

// How hard attention learns: gradients of draws against those of every outcome counted out. Each batch entry
// of a call is a sample.

namespace fovea::nn {
namespace {

constexpr int64_t kTrials = 20000, kChoices = 4, kChannels = 3, kOutputs = 2;
// Of some hundred statistics of one normal deviation each, none goes beyond by chance.
constexpr double kFarOff = 4.5;

std::shared_ptr<HardAttention> learning(const std::string& options, const AttentionShape& shape) {
  return std::dynamic_pointer_cast<HardAttention>(parse_attention("hard:" + options).build(shape));
}

// q (1, 3), k (4, 3), v (4, 2) of one query, and what is lost by its result.
struct Problem {
  std::vector<at::Tensor> operands = {
      at::tensor({0.9, -0.6, 0.4}, at::kDouble).view({1, kChannels}),
      at::tensor({1.0, 0.2, -0.3, -0.5, 0.8, 1.1, 0.3, -1.2, 0.6, -0.9, -0.4, -1.0}, at::kDouble)
          .view({kChoices, kChannels}),
      at::tensor({0.7, -1.1, -0.4, 0.9, 1.3, 0.2, -0.8, -0.5}, at::kDouble).view({kChoices, kOutputs})};

  // (..., 2) -> (...), not linear, and far from 0.
  static at::Tensor loss(const at::Tensor& out) {
    return 3.0 + out.select(-1, 0).sin() + out.square().sum(-1) * 0.5;
  }
  static at::Tensor log_p(const std::vector<at::Tensor>& t) {
    return at::log_softmax(at::matmul(t[1], t[0][0]) / std::sqrt(3.0), -1);
  }
  std::vector<at::Tensor> leaves() const {
    std::vector<at::Tensor> own;
    for (const auto& t : operands) own.push_back(t.clone().requires_grad_());
    return own;
  }
};

at::Tensor flat(const std::vector<at::Tensor>& gradients, int64_t samples) {
  std::vector<at::Tensor> rows;
  for (const auto& g : gradients) rows.push_back(g.reshape({samples, -1}).to(at::kDouble));
  return at::cat(rows, 1);
}

// The mean loss of one draw, or of two without replacement, over all outcomes.
at::Tensor exact_loss(const std::vector<at::Tensor>& t, int64_t draws) {
  const at::Tensor log_p = Problem::log_p(t), p = log_p.exp();
  if (draws == 1) return (p * Problem::loss(t[2])).sum();
  at::Tensor mean = at::zeros({}, at::kDouble);
  for (int64_t i = 0; i < kChoices; ++i) {
    for (int64_t j = 0; j < kChoices; ++j) {
      if (i == j) continue;
      const at::Tensor out = (p[i] * t[2][i] + p[j] * t[2][j]) / (p[i] + p[j]);
      mean = mean + p[i] * p[j] / (1 - p[i]) * Problem::loss(out);
    }
  }
  return mean;
}

at::Tensor exact_gradient(const std::function<at::Tensor(const std::vector<at::Tensor>&)>& value) {
  const std::vector<at::Tensor> t = Problem().leaves();
  auto found = torch::autograd::grad({value(t)}, t, {}, std::nullopt, false, /*allow_unused=*/true);
  for (size_t i = 0; i < t.size(); ++i) {
    if (!found[i].defined()) found[i] = at::zeros_like(t[i]);
  }
  return flat(found, 1)[0];
}

// The same query kTrials times.
AttentionInput samples_of(at::ScalarType type) {
  AttentionInput input;
  const std::vector<at::Tensor> t = Problem().operands;
  const auto leaf = [&](const at::Tensor& rows) {
    return rows.to(type).expand({kTrials, 1, -1, -1}).contiguous().requires_grad_();
  };
  input.q = leaf(t[0]), input.k = leaf(t[1]), input.v = leaf(t[2]);
  return input;
}

// A row of gradients by q, k and v for each sample of `total`.
at::Tensor sample_gradients(const at::Tensor& total, const AttentionInput& input) {
  const std::vector<at::Tensor> leaves = {input.q, input.k, input.v};
  auto found = torch::autograd::grad({total}, leaves, {}, std::nullopt, false, /*allow_unused=*/true);
  for (size_t i = 0; i < found.size(); ++i) {
    if (!found[i].defined()) found[i] = at::zeros_like(leaves[i]);
  }
  return flat(found, kTrials);
}

// The largest deviation of the mean of rows from `exact`, in its standard deviations.
double deviation(const at::Tensor& rows, const at::Tensor& exact) {
  const at::Tensor error = rows.std(0) / std::sqrt(static_cast<double>(rows.size(0)));
  return ((rows.mean(0) - exact).abs() / error.clamp_min(1e-6)).max().item<double>();
}

double variance(const at::Tensor& rows) { return rows.var(0, /*unbiased=*/false).sum().item<double>(); }

// What the samples of a call add to the loss.
at::Tensor total_loss(HardAttention& attention, const AttentionInput& input, bool variational) {
  const at::Tensor loss = Problem::loss(attention.forward(input).out.select(1, 0).select(1, 0));
  if (variational) return attention.loss_term(-loss) * kTrials;
  return loss.sum() + attention.loss_term(-loss.detach()) * kTrials;
}

TEST(Hard, MeanGradientsAreThoseOfAllOutcomes) {
  int64_t seed = 1;
  for (const int64_t draws : {1, 2}) {
    const at::Tensor exact = exact_gradient([&](const auto& t) { return exact_loss(t, draws); });
    for (const std::string estimator : {"reinforce", "variational"}) {
      for (const auto type : {at::kDouble, at::kFloat}) {
        at::manual_seed(seed++);
        const std::string text = "estimator=" + estimator + ",k=" + std::to_string(draws);
        const auto attention = learning(text, {1, 1, kChannels, kOutputs});
        attention->to(type);
        attention->baseline.fill_(-3.2);
        const AttentionInput input = samples_of(type);
        const at::Tensor rows =
            sample_gradients(total_loss(*attention, input, estimator == "variational"), input);
        EXPECT_LT(deviation(rows, exact), kFarOff) << text << ' ' << type;
      }
    }
  }
}

TEST(Hard, EntropyIsRewarded) {
  at::manual_seed(11);
  const at::Tensor exact = exact_gradient([](const std::vector<at::Tensor>& t) {
    const at::Tensor log_p = Problem::log_p(t);
    return (log_p.exp() * log_p).sum() * 0.3;
  });
  const auto attention = learning("estimator=reinforce,entropy=0.3", {1, 1, kChannels, kOutputs});
  const AttentionInput input = samples_of(at::kFloat);
  attention->forward(input);
  const at::Tensor term = attention->loss_term(at::zeros({kTrials})) * kTrials;
  EXPECT_LT(deviation(sample_gradients(term, input), exact), kFarOff);
}

// The sum of variances of all numbers of a sample's gradient, where rewards are taken from `baseline`.
double exact_variance(double baseline) {
  const std::vector<at::Tensor> t = Problem().leaves();
  const at::Tensor log_p = Problem::log_p(t);
  at::Tensor square = at::zeros({}, at::kDouble), mean = at::zeros({}, at::kDouble);
  for (int64_t i = 0; i < kChoices; ++i) {
    const at::Tensor loss = Problem::loss(t[2][i]);
    const at::Tensor sample = loss + (loss.detach() + baseline) * log_p[i];
    const at::Tensor g = flat(torch::autograd::grad({sample}, t, {}, /*retain_graph=*/true), 1)[0];
    const at::Tensor p = log_p[i].detach().exp();
    square = square + p * g.square().sum();
    mean = mean + p * g;
  }
  return (square - mean.square().sum()).item<double>();
}

TEST(Hard, TheBaselineLowersTheVariance) {
  const double reward = -exact_loss(Problem().operands, 1).item<double>();
  std::vector<double> found;
  for (const double baseline : {0.0, reward}) {
    at::manual_seed(12);
    const auto attention = learning("estimator=reinforce", {1, 1, kChannels, kOutputs});
    attention->baseline.fill_(baseline);
    const AttentionInput input = samples_of(at::kFloat);
    found.push_back(variance(sample_gradients(total_loss(*attention, input, false), input)));
    EXPECT_NEAR(found.back() / exact_variance(baseline), 1.0, 0.05) << baseline;
  }
  RecordProperty("ratio", std::to_string(found[0] / found[1]));
  EXPECT_GT(found[0] / found[1], 2.0);
}

TEST(Hard, TheBaselineIsAMovingAverage) {
  at::manual_seed(13);
  const auto attention = learning("estimator=reinforce,baseline_decay=0.8", {1, 1, kChannels, kOutputs});
  EXPECT_TRUE(attention->named_buffers().contains("baseline"));
  const AttentionInput input = samples_of(at::kFloat);
  double expected = 0.0;
  for (const double reward : {2.0, -1.0, 5.0}) {
    attention->forward(input);
    const double advantage = reward - expected;
    const double term = attention->loss_term(at::full({kTrials, 1}, reward)).item<double>();
    const double mean = attention->choice().log_probability.mean().item<double>();
    EXPECT_NEAR(term, -advantage * mean, 1e-4) << "of the average before";
    expected = 0.8 * expected + 0.2 * reward;
    EXPECT_NEAR(attention->baseline.item<double>(), expected, 1e-6);
  }
}

// Of two keys of scores s and 0: the slope of a relaxed draw's weight of the first, whose noise is logistic,
// over noise above `least`.
double relaxed_slope(double s, double temperature, double least) {
  const at::Tensor noise = at::linspace(-40, 40, 800001, at::kDouble);
  const auto slope = [](const at::Tensor& x) { return x.sigmoid() * (-x).sigmoid(); };
  const at::Tensor part = slope((s + noise) / temperature) / temperature * slope(noise);
  return part.masked_fill(noise <= least, 0.0).sum().item<double>() * 1e-4;
}

TEST(Hard, StraightThroughIsADrawWithARelaxedSlope) {
  double bias = std::numeric_limits<double>::infinity();
  for (const double temperature : {1.0, 0.25}) {
    const double mean = relaxed_slope(0.9, temperature, -40);
    for (const auto type : {at::kDouble, at::kFloat}) {
      at::manual_seed(14);
      const auto attention = learning("scale=1,temperature=" + std::to_string(temperature), {1, 1, 1, 1});
      AttentionInput input;
      input.q = at::ones({kTrials, 1, 1, 1}, type).requires_grad_();
      input.k = at::tensor({0.5, 0.0}, type).view({1, 1, 2, 1}).repeat({kTrials, 1, 1, 1}).requires_grad_();
      input.v = at::tensor({1.0, 0.0}, type).view({1, 1, 2, 1}).repeat({kTrials, 1, 1, 1}).requires_grad_();
      input.call.bias = at::tensor({0.4, 0.0}, type);
      const at::Tensor out = attention->forward(input).out;
      const at::Tensor first = (attention->choice().keys == 0).to(type);
      EXPECT_TRUE(out.equal(first)) << "no number but one of the values";
      const at::Tensor grad = torch::autograd::grad({out.sum()}, {input.k})[0].select(2, 0),
                       rows = at::cat({grad, grad * first.select(2, 0)}, 1).view({kTrials, 2}),
                       law = at::tensor({mean, relaxed_slope(0.9, temperature, -0.9)}, at::kDouble);
      EXPECT_LT(deviation(rows.to(at::kDouble), law), kFarOff) << "the first is drawn by noise above -0.9";
    }
    const double p = 1 / (1 + std::exp(-0.9)), left = std::abs(mean - p * (1 - p));
    EXPECT_LT(left, bias / 4) << "the bias falls with the temperature";
    bias = left;
  }
}

// The noise of the kernel's tiles, of queries by keys and of keys by queries, is that of the definition.
TEST(Hard, TheKernelLearnsAsTheDefinition) {
  at::manual_seed(17);
  const at::Tensor q = at::randn({2, 4, 70, 8}), k = at::randn({2, 2, 90, 8}), v = at::randn({2, 2, 90, 5});
  const auto gradients = [&](at::ScalarType type) {
    AttentionInput input;
    input.q = q.to(type).requires_grad_(), input.k = k.to(type).requires_grad_(), input.v = v.to(type);
    input.call.seed = 3;
    const at::Tensor out = learning("temperature=0.5", {4, 2, 8, 5})->forward(input).out;
    const at::Tensor seen = at::arange(out.numel(), at::kDouble).cos().to(type).view_as(out);
    return flat(torch::autograd::grad({(out * seen).sum()}, {input.q, input.k}), 1);
  };
  EXPECT_LT((gradients(at::kFloat) - gradients(at::kDouble)).abs().max().item<double>(), 1e-4);
}

// v learns as if the draw had been given.
TEST(Hard, ValuesLearnFromWhatWasDrawn) {
  at::manual_seed(15);
  const auto attention = learning("", {1, 1, kChannels, kOutputs});
  const AttentionInput input = samples_of(at::kFloat);
  const at::Tensor out = attention->forward(input).out;
  const at::Tensor grad = torch::autograd::grad({out.sum()}, {input.v})[0];
  const at::Tensor drawn = at::arange(kChoices) == attention->choice().keys.view({kTrials, 1});
  EXPECT_TRUE(grad.select(3, 0).reshape({kTrials, kChoices}).equal(drawn.to(at::kFloat)));
}

// What is drawn a second time, for the backward, is what was drawn.
TEST(Hard, LearnsThroughAnActivationCheckpoint) {
  const auto gradient = [](bool checkpointed) {
    at::manual_seed(16);
    const auto attention = learning("estimator=variational", {2, 2, 8, 8});
    const at::Tensor q = at::randn({3, 2, 40, 8}).requires_grad_(), kv = at::randn({3, 2, 40, 8});
    const auto run = [&](const at::Tensor& x) {
      AttentionInput input;
      input.q = x, input.k = input.v = kv;
      return attention->forward(input).out;
    };
    const at::Tensor out = checkpointed ? checkpoint(run, q) : run(q);
    const at::Tensor loss = attention->loss_term(-(out.square() + q * out).flatten(1).sum(1));
    return torch::autograd::grad({loss}, {q})[0];
  };
  EXPECT_TRUE(gradient(true).equal(gradient(false)));
}

}  // namespace
}  // namespace fovea::nn
