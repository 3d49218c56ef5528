#include "fovea/nn/attention/approximation.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "fovea/core/error.h"
#include "fovea/nn/attention/registry.h"
#include "tests/support/errors.h"

namespace fovea::nn {
namespace {

AttentionInput approximated_input(int64_t length, double scale = 1) {
  at::manual_seed(71);
  AttentionInput input;
  input.q = scale * at::randn({1, 2, length, 16}), input.k = scale * at::randn({1, 2, length, 16});
  input.v = at::randn({1, 2, length, 16});
  return input;
}

TEST(Approximation, NumbersGoWhereTheyStand) {
  EXPECT_EQ(filled_in("lsh:rounds={budget},seed={seed},chunk={budget}", "budget", 16),
            "lsh:rounds=16,seed={seed},chunk=16");
  EXPECT_EQ(filled_in("softmax", "budget", 16), "softmax");
}

TEST(Approximation, WhatIsExactDoesNotErr) {
  Approximations approximations(approximated_input(96));
  for (const char* text :
       {"softmax", "softmax:window=96", "nystrom:landmarks=96,exact=true", "lsh:chunk=96",
        "softmax:causal=true,window=96", "softmax:scale=0.5,window=96", "lsh:chunk=96,causal=true,scale=0.5",
        "hybrid:block_size=8,query_block=8,chosen=12,causal=true", "sparse_fixed:stride=96"}) {
    EXPECT_LT(approximations.error_of(text, 2).mean, 2e-5) << text;
  }
  const ApproximationError same = approximations.error_of("softmax", 1);
  EXPECT_EQ(same.multiply_adds, same.exact_multiply_adds);
  EXPECT_EQ(same.deviation, 0.0);
}

// By hand: two seeds, and norms over all heads.
TEST(Approximation, ErrsByRelativeNorms) {
  const AttentionInput input = approximated_input(64);
  const at::NoGradGuard no_grad;
  const auto out = [&](const std::string& text) {
    return parse_attention(text).build({2, 2, 16, 16})->forward(input).out.to(at::kDouble);
  };
  const at::Tensor exact = out("softmax");
  double errors[2];
  for (int64_t seed = 0; seed < 2; ++seed) {
    const at::Tensor off = out(filled_in("performer:features=32,seed={seed}", "seed", seed)) - exact;
    errors[seed] = std::sqrt((off * off).sum().item<double>() / (exact * exact).sum().item<double>());
  }
  const auto found = Approximations(input).error_of("performer:features=32,seed={seed}", 2);
  EXPECT_NEAR(found.mean, (errors[0] + errors[1]) / 2, 1e-5 * found.mean);
  EXPECT_NEAR(found.deviation, std::abs(errors[0] - errors[1]) / std::sqrt(2.0), 1e-4 * found.mean);
}

TEST(Approximation, ABudgetBuysAccuracy) {
  // Norms at which random features estimate well: their variance grows with exp(|q + k|^2).
  Approximations approximations(approximated_input(256, 0.5));
  for (const char* text : {"performer:features={budget},seed={seed}", "softmax:window={budget}"}) {
    const auto few = approximations.error_of(filled_in(text, "budget", 8), 3),
               many = approximations.error_of(filled_in(text, "budget", 128), 3);
    EXPECT_LT(many.mean, 0.7 * few.mean) << text;
    EXPECT_GT(many.multiply_adds, few.multiply_adds) << text;
  }
}

// Values that are doubled later are twice those of the exact result that was kept.
TEST(Approximation, WhatIsExactIsRunOnceAForm) {
  const AttentionInput input = approximated_input(48);
  Approximations approximations(input);
  EXPECT_LT(approximations.error_of("softmax", 1).mean, 1e-6);
  input.v.mul_(2);
  EXPECT_NEAR(approximations.error_of("softmax:window=48", 1).mean, 1.0, 2e-5);
  EXPECT_LT(approximations.error_of("lsh:chunk=48", 1).mean, 1e-6);
}

TEST(Approximation, RefusesWhatSaysNothing) {
  Approximations approximations(approximated_input(8));
  expect_error(ErrorKind::usage, {"seeds must be at least 1"},
               [&] { approximations.error_of("softmax", 0); });
  expect_error(ErrorKind::usage, {"before it is trained; found linformer, which learns E, F."},
               [&] { approximations.check("linformer:rank=4"); });
  EXPECT_THROW(approximations.error_of("linformer:rank=4", 2), Error);
  approximations.check("softmax_sink");
}

}  // namespace
}  // namespace fovea::nn
