#include "fovea/nn/attention/random_features.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "fovea/nn/attention/performer.h"
#include "fovea/nn/attention/registry.h"

namespace fovea::nn {
namespace {

constexpr int64_t kSize = 8;
constexpr int kDraws = 40000;

struct Estimates {
  double mean = 0, mean_squared_error = 0;
};

double softmax_kernel(const at::Tensor& x, const at::Tensor& y) { return std::exp(x.dot(y).item<double>()); }

// Of exp(x . y) by sum_r exp(w_r . (x + y) - (|x|^2 + |y|^2) / 2) / R, over many draws (the paper's Lemma 1).
Estimates estimates(const at::Tensor& x, const at::Tensor& y, int64_t count, bool orthogonal) {
  const double exact = softmax_kernel(x, y);
  const at::Tensor sum = x + y;
  const double shrink = std::exp(-0.5 * (x.dot(x) + y.dot(y)).item<double>());
  Estimates all;
  for (int draw = 0; draw < kDraws; ++draw) {
    const at::Tensor w = random_features(count, kSize, orthogonal, 1000 + draw);
    const double estimate = shrink * w.mv(sum).exp().mean().item<double>();
    all.mean += estimate / kDraws;
    all.mean_squared_error += (estimate - exact) * (estimate - exact) / kDraws;
  }
  return all;
}

struct Pair {
  at::Tensor x = at::full({kSize}, 0.2, at::kDouble), y = at::full({kSize}, 0.1, at::kDouble);

  Pair() { y[0] = -0.3; }
};

// Lemma 2: MSE = exp(|x + y|^2) SM^2 (1 - exp(-|x + y|^2)) / R.
double variance_law(const Pair& pair, int64_t count) {
  const double exact = softmax_kernel(pair.x, pair.y),
               squared = (pair.x + pair.y).square().sum().item<double>();
  return std::exp(squared) * exact * exact * (1 - std::exp(-squared)) / static_cast<double>(count);
}

TEST(RandomFeatures, EstimateWithoutBiasAndTheKnownVariance) {
  const Pair pair;
  const double exact = softmax_kernel(pair.x, pair.y);
  for (const int64_t count : {4, 16}) {
    const double law = variance_law(pair, count);
    const Estimates found = estimates(pair.x, pair.y, count, false);
    EXPECT_NEAR(found.mean, exact, 4 * std::sqrt(law / kDraws)) << count;
    EXPECT_NEAR(found.mean_squared_error / law, 1.0, 0.06) << count;
  }
}

// Theorem 2: by at least 2 (R - 1) / (R (D + 2)) (SM - exp(-(|x|^2 + |y|^2) / 2))^2.
TEST(RandomFeatures, AtRightAnglesErrLess) {
  const Pair pair;
  const double exact = softmax_kernel(pair.x, pair.y), law = variance_law(pair, kSize);
  const Estimates found = estimates(pair.x, pair.y, kSize, true);
  EXPECT_NEAR(found.mean, exact, 4 * std::sqrt(law / kDraws));
  const double apart =
      exact - std::exp(-0.5 * (pair.x.square().sum() + pair.y.square().sum()).item<double>());
  const double gain = 2.0 * (kSize - 1) / static_cast<double>(kSize * (kSize + 2)) * apart * apart;
  EXPECT_LT(found.mean_squared_error, law - gain + 0.03 * law);
  EXPECT_LT(found.mean_squared_error, 0.95 * law);
}

TEST(RandomFeatures, StandAtRightAnglesInEachBlock) {
  const at::Tensor w = random_features(2 * kSize + 3, kSize, true, 7);
  EXPECT_EQ(w.sizes(), (std::vector<int64_t>{2 * kSize + 3, kSize}));
  for (const int64_t begin : {int64_t{0}, kSize, 2 * kSize}) {
    const at::Tensor rows = w.slice(0, begin, std::min(begin + kSize, w.size(0)));
    const at::Tensor products = rows.matmul(rows.t());
    EXPECT_LT((products - products.diagonal().diag()).abs().max().item<double>(), 1e-12);
  }
  // Lengths are those of normal vectors, not all the same.
  EXPECT_GT(w.norm(2, -1).std().item<double>(), 0.1);
  EXPECT_TRUE(w.equal(random_features(2 * kSize + 3, kSize, true, 7)));
  EXPECT_FALSE(w.equal(random_features(2 * kSize + 3, kSize, true, 8)));
}

// The mean square of what the Performer errs falls as one over the features.
TEST(RandomFeatures, ErrLessTheMoreThereAre) {
  at::manual_seed(21);
  AttentionInput input;
  const auto draw = [](double size) { return size * at::randn({1, 1, 32, kSize}, at::kDouble); };
  input.q = draw(0.3), input.k = draw(0.3), input.v = draw(1.0);
  const at::Tensor exact = parse_attention("softmax").build({1, 1, kSize, kSize})->forward(input).out;
  const auto error = [&](int64_t count) {
    double sum = 0;
    for (int seed = 0; seed < 60; ++seed) {
      const std::string text =
          "performer:features=" + std::to_string(count) + ",seed=" + std::to_string(seed);
      const auto attention = parse_attention(text).build({1, 1, kSize, kSize});
      sum += (attention->forward(input).out - exact).square().mean().item<double>() / 60;
    }
    return sum;
  };
  const double few = error(128), more = error(512), most = error(2048);
  EXPECT_NEAR(std::log2(few / more) / 2, 1.0, 0.25);
  EXPECT_NEAR(std::log2(more / most) / 2, 1.0, 0.25);
}

}  // namespace
}  // namespace fovea::nn
