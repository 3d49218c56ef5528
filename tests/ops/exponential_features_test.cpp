#include "fovea/ops/exponential_features.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>
#include <string>
#include <vector>

namespace fovea {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct FeatureCall {
  int64_t rows, dim, features;
  double scale;
  /// Numbers of a row stand apart in memory.
  bool turned = false;
  /// (B, H, N, D); stored as (B, N, H, D), or (B, H, D, N).
  at::Tensor x = {}, directions = {};

  std::string text() const {
    return "N " + std::to_string(rows) + ", D " + std::to_string(dim) + ", R " + std::to_string(features) +
           (turned ? ", turned" : "");
  }
  void draw() {
    x = turned ? at::randn({2, 3, dim, rows}, at::kDouble).transpose(2, 3)
               : at::randn({2, rows, 3, dim}, at::kDouble).transpose(1, 2);
    directions = at::randn({features, dim}, at::kDouble);
  }
  at::Tensor leaf(at::ScalarType type) const { return x.to(type).detach().requires_grad_(); }
};

std::vector<FeatureCall> calls() {
  return {{1, 1, 1, 1.0},      {5, 3, 7, 1.0},     {24, 16, 16, 0.5},
          {25, 64, 266, 0.35}, {500, 20, 33, 0.5}, {40, 24, 19, 0.5, true}};
}

// `features` with the slope of a sum by x, and the slope of that slope.
std::vector<at::Tensor> with_slopes(const at::Tensor& features, const at::Tensor& x) {
  const at::Tensor seen =
      at::arange(features.numel(), at::kDouble).sin().to(features.scalar_type()).view_as(features.mT()).mT();
  const at::Tensor sum = (features * seen).sum();
  // Once by the kernel, and once as what can be differentiated again.
  const at::Tensor plain = torch::autograd::grad({sum}, {x}, {}, /*retain_graph=*/true)[0];
  const at::Tensor slope = torch::autograd::grad({sum}, {x}, {}, true, /*create_graph=*/true)[0];
  return {features.detach(), plain, slope.detach(), torch::autograd::grad({slope.square().sum()}, {x})[0]};
}

void expect_near(const std::vector<at::Tensor>& found, const std::vector<at::Tensor>& expected,
                 const std::string& where) {
  for (size_t i = 0; i < found.size(); ++i) {
    const double size = std::max(expected[i].abs().max().item<double>(), 1e-30);
    EXPECT_LT((found[i].to(at::kDouble) - expected[i]).abs().max().item<double>(), 1e-5 * size)
        << where << ", result " << i;
  }
}

at::Tensor powers_of(const FeatureCall& call, const at::Tensor& x, bool norm) {
  const at::Tensor y = x * call.scale;
  const at::Tensor h = at::matmul(y, call.directions.t());
  return norm ? h - y.square().sum(-1, true) / 2 : h;
}

TEST(ExponentialFeatures, OfQueriesAreTheFormula) {
  at::manual_seed(1);
  for (FeatureCall call : calls()) {
    call.draw();
    const at::Tensor x = call.leaf(at::kFloat), exact = call.leaf(at::kDouble),
                     h = powers_of(call, exact, false);
    const auto expected = with_slopes((h - h.detach().amax(-1, true)).exp(), exact);
    expect_near(with_slopes(query_exponentials(x, call.directions.to(at::kFloat), call.scale), x), expected,
                call.text());
    const at::Tensor wide = call.leaf(at::kDouble);
    expect_near(with_slopes(query_exponentials(wide, call.directions, call.scale), wide), expected,
                call.text());
  }
}

TEST(ExponentialFeatures, OfKeysAreTheFormula) {
  at::manual_seed(2);
  for (FeatureCall call : calls()) {
    call.draw();
    for (const bool hides : {false, true}) {
      const at::Tensor hidden = hides ? at::rand({2, 1, call.rows, 1}) < 0.4 : at::Tensor();
      const at::Tensor least = hides ? at::randn({2, 3, 1, 1}, at::kDouble) : at::Tensor();
      const at::Tensor exact = call.leaf(at::kDouble);
      at::Tensor h = powers_of(call, exact, true);
      if (hides) h = h.masked_fill(hidden, -kInfinity);
      at::Tensor largest = h.detach().amax({2, 3}, true);
      if (hides) largest = at::maximum(largest.masked_fill(largest == -kInfinity, 0.0), least);
      const auto expected = with_slopes((h - largest).exp(), exact);
      for (const auto type : {at::kFloat, at::kDouble}) {
        const at::Tensor x = call.leaf(type);
        const KeyExponentials found =
            key_exponentials(x, call.directions.to(type), call.scale, hidden, hides ? least.to(type) : least);
        expect_near({found.largest}, {largest}, call.text() + ", largest");
        expect_near(with_slopes(found.features, x), expected, call.text());
        EXPECT_FALSE(found.largest.requires_grad());
        if (hides) {
          EXPECT_EQ((found.features * hidden).abs().max().item<double>(), 0.0);
        }
      }
    }
  }
}

// A row that is not finite reaches no other row, and has no part in what these are divided by.
TEST(ExponentialFeatures, RowsThatAreNotFiniteStayAlone) {
  at::manual_seed(3);
  FeatureCall call{50, 20, 33, 0.5};
  call.draw();
  const at::Tensor directions = call.directions.to(at::kFloat), clean = call.x.to(at::kFloat);
  for (const double bad : {kInfinity, std::nan("")}) {
    at::Tensor x = clean.clone();
    x.select(2, 7).fill_(bad);
    const auto others = [](const at::Tensor& t) { return at::cat({t.slice(2, 0, 7), t.slice(2, 8)}, 2); };
    const at::Tensor queries = query_exponentials(x, directions, call.scale);
    EXPECT_TRUE(others(queries).equal(others(query_exponentials(clean, directions, call.scale))));
    EXPECT_FALSE(at::isfinite(queries.select(2, 7)).all().item<bool>());
    const at::Tensor hidden = at::zeros({50, 1}, at::kBool).index_fill(0, at::tensor({int64_t{7}}), true);
    const KeyExponentials keys = key_exponentials(x, directions, call.scale, {}, {}),
                          without = key_exponentials(clean, directions, call.scale, hidden, {});
    EXPECT_TRUE(keys.largest.equal(without.largest));
    EXPECT_TRUE(others(keys.features).equal(others(without.features)));
    EXPECT_TRUE(key_exponentials(x, directions, call.scale, hidden, {}).features.equal(without.features));
  }
}

// In the kernel they would be read beyond their end.
TEST(ExponentialFeatures, DirectionsOfAnotherSizeAreRefused) {
  const at::Tensor x = at::randn({1, 2, 8, 16});
  for (const auto& directions : {at::randn({5, 4}), at::randn({5, 32}), at::randn({5, 16}, at::kDouble)}) {
    EXPECT_THROW(query_exponentials(x, directions, 1.0), c10::Error);
    EXPECT_THROW(key_exponentials(x, directions, 1.0, {}, {}), c10::Error);
  }
}

TEST(ExponentialFeatures, OfNothingAreNothing) {
  const at::Tensor x = at::empty({2, 3, 0, 4}), directions = at::randn({5, 4});
  EXPECT_EQ(query_exponentials(x, directions, 1.0).sizes(), at::IntArrayRef({2, 3, 0, 5}));
  EXPECT_EQ(key_exponentials(x, directions, 1.0, {}, {}).largest.sum().item<double>(), 0.0);
}

}  // namespace
}  // namespace fovea
