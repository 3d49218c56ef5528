#include "fovea/ops/attend_dropout.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/ops/attend.h"
#include "fovea/ops/attend_fused.h"
#include "tests/ops/attend_gradients.h"

namespace fovea {
namespace {

// With equal scores and values of one basis vector a key, the output is the weights themselves.
at::Tensor weights_of(const AttendOptions& options, int64_t queries, int64_t keys) {
  const at::Tensor zeros = at::zeros({2, 3, std::max(queries, keys), 8});
  const at::Tensor values = at::eye(keys).expand({2, 3, keys, keys});
  return attend(zeros.slice(2, 0, queries), zeros.slice(2, 0, keys), values, options).out;
}

AttendOptions dropping(double p, uint64_t seed) {
  AttendOptions options;
  options.dropout_p = p;
  options.seed = seed;
  return options;
}

TEST(AttendDropout, DropsItsPartAndKeepsTheMean) {
  for (const double p : {0.0, 0.1, 0.5, 0.9}) {
    const at::Tensor weights = weights_of(dropping(p, 3), 500, 200);
    const double dropped = (weights == 0).to(at::kDouble).mean().item<double>();
    const double deviation = std::sqrt(p * (1 - p) / static_cast<double>(weights.numel()));
    EXPECT_NEAR(dropped, p, 4 * deviation + 1.0 / 65536) << p;
    EXPECT_NEAR(weights.max().item<double>(), 1.0 / 200 / (1 - p), 2e-5) << p;
  }
}

// Neither neighbours nor heads share their bits.
TEST(AttendDropout, ItsBitsDoNotRepeat) {
  const at::Tensor dropped = (weights_of(dropping(0.5, 4), 256, 160) == 0).to(at::kDouble) - 0.5;
  const auto correlation = [&](const at::Tensor& a, const at::Tensor& b) {
    return std::abs((a * b).mean().item<double>()) * 4;
  };
  const double noise = 5 / std::sqrt(static_cast<double>(dropped.numel()) / 8);
  for (const int64_t step : {1, 16, 32, 64, 128}) {
    EXPECT_LT(correlation(dropped.slice(2, step), dropped.slice(2, 0, 256 - step)), noise)
        << "queries " << step;
    EXPECT_LT(correlation(dropped.slice(3, step), dropped.slice(3, 0, 160 - step)), noise) << "keys " << step;
  }
  EXPECT_LT(correlation(dropped.select(1, 0), dropped.select(1, 1)), noise);
  EXPECT_LT(correlation(dropped.select(0, 0), dropped.select(0, 1)), noise);
}

// Of what is kept, found in the weights, against the formula in float64: out = (p kept / 0.75) v. A
// probability that 65,536 parts hold exactly.
TEST(AttendDropout, GradientsOfWhatIsKept) {
  at::manual_seed(9);
  const AttendOptions options = dropping(0.25, 7);
  const at::Tensor kept = (weights_of(options, 130, 200) != 0).to(at::kDouble);
  const test::Operands t = {at::randn({2, 3, 130, 8}), at::randn({2, 3, 200, 8}), at::randn({2, 3, 200, 24})};
  const at::Tensor grad = at::randn({2, 3, 130, 24});
  const test::Operands x = test::learned(test::in_double(t));
  const at::Tensor weights = at::softmax(at::matmul(x.q, x.k.transpose(2, 3)) / std::sqrt(8.0), -1),
                   out = at::matmul(weights * kept / 0.75, x.v);
  const auto exact = torch::autograd::grad({out}, {x.q, x.k, x.v}, {grad.to(at::kDouble)});
  const auto got = test::evaluate(attend_fused, t, grad, options);
  EXPECT_LT(test::norm_error(got.out, out), 1e-6);
  for (size_t i = 0; i < 3; ++i) EXPECT_LT(test::norm_error(got.gradients[i], exact[i]), 3e-6) << i;
}

TEST(AttendDropout, TheSeedDecides) {
  EXPECT_TRUE(at::equal(weights_of(dropping(0.3, 5), 100, 64), weights_of(dropping(0.3, 5), 100, 64)));
  EXPECT_FALSE(at::equal(weights_of(dropping(0.3, 5), 100, 64), weights_of(dropping(0.3, 6), 100, 64)));
  AttendOptions drawn;
  drawn.dropout_p = 0.3;
  at::manual_seed(8);
  const at::Tensor first = weights_of(drawn, 100, 64), second = weights_of(drawn, 100, 64);
  EXPECT_FALSE(at::equal(first, second));
  at::manual_seed(8);
  EXPECT_TRUE(at::equal(first, weights_of(drawn, 100, 64)));
}

}  // namespace
}  // namespace fovea
