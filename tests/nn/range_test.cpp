#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "fovea/nn/attention/forgetting.h"
#include "fovea/nn/attention/registry.h"
#include "tests/nn/range_inputs.h"
#include "tests/support/errors.h"

// What mechanisms that learn their range do beside the six proofs: what they skip, what they remember.

namespace fovea::nn {
namespace {

using range::gap, range::kWide, range::made, range::rows_of;

TEST(Forgetting, OfNothingIsSoftmax) {
  at::manual_seed(1);
  for (const auto type : {at::kDouble, at::kFloat}) {
    const AttentionInput input = rows_of(2, 3, 70, 8, type);
    const auto forgetting = made<ForgettingAttention>("forgetting", 3, 8);
    forgetting->to(type);
    const torch::NoGradGuard no_grad;
    forgetting->f_proj->bias.fill_(60.0);  // f = 1 but for 1e-26
    const at::Tensor plain = made<Attention>("softmax:causal=true", 3, 8)->forward(input).out;
    EXPECT_LT(gap(forgetting->forward(input).out, plain), type == at::kDouble ? 1e-14 : 1e-6);
  }
}

// Sums of log f that reach -7,000: their float32 has a step of 5e-4, their differences of neighbours must
// not.
TEST(Forgetting, KeepsTheDigitsOfLongSums) {
  at::manual_seed(2);
  AttentionInput input = rows_of(1, 2, 3000, 16);
  const auto forgetting = made<ForgettingAttention>("forgetting", 2, 16);
  {
    const torch::NoGradGuard no_grad;
    forgetting->f_proj->bias.fill_(-2.0);
  }
  const at::Tensor by_out = at::randn_like(input.v);
  const auto run = [&](at::ScalarType type) {
    forgetting->to(type);
    AttentionInput own = input;
    own.q = input.q.to(type), own.k = input.k.to(type), own.v = input.v.to(type);
    own.x = input.x.to(type).requires_grad_();
    const at::Tensor out = forgetting->forward(own).out;
    const auto grads = torch::autograd::grad({(out * by_out.to(type)).sum()},
                                             {own.x, forgetting->f_proj->weight, forgetting->f_proj->bias});
    return std::vector<at::Tensor>{out.detach(), grads[0], grads[1], grads[2]};
  };
  const auto wide = run(at::kDouble), fused = run(at::kFloat);
  for (const size_t i : {0, 1}) {
    EXPECT_LT(gap(fused[i], wide[i]), 1e-5 * std::max(1.0, wide[i].abs().max().item<double>())) << i;
  }
  // Gradients of w and b are sums over rows, whose terms are of the size of those by x and cancel.
  const double added = wide[1].abs().sum().item<double>();
  for (const size_t i : {2, 3}) {
    EXPECT_LT(gap(fused[i], wide[i]), 1e-6 * added) << i;
  }
}

TEST(Forgetting, IsOfOneSequenceInCausalOrder) {
  at::manual_seed(3);
  AttentionInput input = rows_of(1, 2, 9, 4);
  const auto forgetting = made<ForgettingAttention>("forgetting", 2, 4);
  const at::Tensor out = forgetting->forward(input).out;
  input.call.causal = CausalAlignment::top_left;
  EXPECT_TRUE(forgetting->forward(input).out.equal(out));
  input.x = input.x.slice(1, 1);
  expect_error(ErrorKind::usage, {"[forgetting] x must have a row for each query"},
               [&] { forgetting->forward(input); });
  expect_error(ErrorKind::usage, {"[forgetting]", "rows before projection"}, [] {
    parse_attention("forgetting").build({2, 2, 4, 4, 0});
  });
  expect_error(ErrorKind::usage, {"the option 'causal' is unknown"},
               [] { parse_attention("forgetting:causal=false"); });
}

}  // namespace
}  // namespace fovea::nn
