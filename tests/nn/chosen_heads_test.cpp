#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "fovea/nn/attention/head_gate.h"
#include "fovea/nn/attention/head_router.h"
#include "fovea/nn/attention/registry.h"
#include "tests/nn/gap.h"
#include "tests/nn/range_inputs.h"

// What mechanisms that choose heads draw, skip and penalise.

namespace fovea::nn {
namespace {

using range::kWide, range::made, range::rows_of, range::seconds_of;

// Drawn gates: the part that is closed, open whole, and the mean, of the distribution function of the paper,
//   P(g <= z) = sigmoid(beta (log(z') - log(1 - z')) - log_alpha), z' = (z - gamma) / (zeta - gamma).
TEST(HeadGate, DrawsHardConcreteGates) {
  at::manual_seed(10);
  constexpr int64_t kGates = 200000;
  HeadGateAttention attention({"head_gate", {}}, {kGates, kGates, 1, 1, 0}, {});
  for (const double log_alpha : {-1.5, 0.0, 2.0}) {
    const torch::NoGradGuard no_grad;
    attention.log_alpha.fill_(log_alpha);
    attention.train();
    const at::Tensor gates = attention.gates().to(at::kDouble);
    const auto below = [&](double z) {
      const double place = (z + 0.1) / 1.2;
      return 1 / (1 + std::exp(log_alpha - 2.0 / 3 * std::log(place / (1 - place))));
    };
    EXPECT_NEAR((gates == 0).to(at::kDouble).mean().item<double>(), below(0), 0.005);
    EXPECT_NEAR((gates == 1).to(at::kDouble).mean().item<double>(), 1 - below(1), 0.005);
    EXPECT_NEAR((gates <= 0.4).to(at::kDouble).mean().item<double>(), below(0.4), 0.005);
    EXPECT_NEAR(attention.l0_penalty().item<double>() / kGates, 1 - below(0), 1e-5);
    attention.eval();
    const double middle = 1.2 / (1 + std::exp(-log_alpha)) - 0.1;
    EXPECT_NEAR(attention.gates()[0].item<double>(), std::clamp(middle, 0.0, 1.0), 1e-6);
  }
}

// Closed heads are left out; masks, biases, slopes and grouped keys go with the others.
TEST(HeadGate, ClosedHeadsAreZeroAndOthersTheSame) {
  at::manual_seed(11);
  auto attention = parse_attention("head_gate").build({6, 3, 8, 8, 0});
  attention->eval();
  AttentionInput input = rows_of(2, 6, 33, 8, at::kDouble);
  input.x = at::Tensor();
  input.k = at::randn({2, 3, 33, 8}, at::kDouble), input.v = at::randn({2, 3, 33, 8}, at::kDouble);
  input.call.bias = at::randn({6, 33, 33}, at::kDouble);
  input.call.mask = at::rand({2, 1, 33, 33}) > 0.2;
  input.call.alibi_slopes = at::rand({2, 6}, at::kDouble);
  input.call.relative_table = at::randn({6, 7}, at::kDouble);
  const torch::NoGradGuard no_grad;
  const at::Tensor alpha = attention->named_parameters()["log_alpha"];
  alpha.copy_(at::tensor({5.0, -5.0, 0.1, -0.2, -5.0, 0.3}));
  const at::Tensor out = attention->forward(input).out;
  AttentionInput shown = input;
  shown.call.weights = true;  // computes every head
  EXPECT_LT(gap(out, attention->forward(shown).out), 1e-13);
  EXPECT_EQ(out.select(1, 1).abs().max().item<double>() + out.select(1, 4).abs().max().item<double>(), 0.0);
  const at::Tensor gates = (alpha.sigmoid() * 1.2 - 0.1).clamp(0, 1).view({-1, 1, 1});
  const at::Tensor plain = parse_attention("softmax").build({6, 3, 8, 8, 0})->forward(input).out;
  EXPECT_LT(gap(out, plain * gates), 1e-7);
  alpha.fill_(-5.0);
  EXPECT_EQ(attention->forward(input).out.abs().max().item<double>(), 0.0);
}

TEST(HeadGate, ClosedHeadsSaveTime) {
  at::manual_seed(12);
  const AttentionInput input = rows_of(1, 8, 2048, 32);
  const auto attention = made<HeadGateAttention>("head_gate:log_alpha=5", 8, 32);
  const double all = seconds_of(*attention, input);
  const auto products = attention->cost(2048, 2048, 32).multiply_adds;
  const torch::NoGradGuard no_grad;
  attention->log_alpha.slice(0, 2).fill_(-5.0);
  const double ratio = all / seconds_of(*attention, input);
  RecordProperty("ratio", std::to_string(ratio));
  EXPECT_GT(ratio, 2.5);
  EXPECT_EQ(attention->cost(2048, 2048, 32).multiply_adds, products / 4);
}

TEST(HeadGate, LearnsWhileSomeGatesAreClosed) {
  at::manual_seed(13);
  const AttentionInput input = rows_of(1, 4, 20, 8);
  const auto attention = made<HeadGateAttention>("head_gate", 4, 8);
  {
    const torch::NoGradGuard no_grad;
    attention->log_alpha.copy_(at::tensor({-9.0, 0.0, 0.5, -9.0}));
  }
  for (const bool training : {false, true}) {
    attention->train(training);
    const at::Tensor loss = attention->forward(input).out.square().sum() + attention->l0_penalty();
    const at::Tensor grad = torch::autograd::grad({loss}, {attention->log_alpha})[0];
    EXPECT_TRUE(at::isfinite(grad).all().item<bool>());
    EXPECT_GT(grad.abs().min().item<double>(), 0.0) << "the penalty pulls at closed gates too";
  }
}

// Head by head, of four, two a row; in causal order, with a mask and a bias of pairs, and keys that end.
struct Routed {
  at::Tensor out, by_x, by_router;
};
Routed routed_by_definition(const AttentionInput& in, const at::Tensor& router, const at::Tensor& by_out) {
  const at::Tensor x = in.x.detach().requires_grad_(), w = router.detach().requires_grad_();
  const at::Tensor p = at::softmax(at::matmul(x, w.t()), -1);
  const at::Tensor kept = p >= std::get<0>(p.topk(2, -1)).slice(-1, 1, 2);
  const at::Tensor share = (p * kept) / (p * kept).sum(-1, true).detach();
  const at::Tensor i = at::arange(in.q.size(2)).unsqueeze(1), j = at::arange(in.k.size(2));
  const at::Tensor seen = (j <= i) & *in.call.mask & (j < in.call.key_lengths->view({-1, 1, 1, 1}));
  const at::Tensor scores = at::matmul(in.q, in.k.transpose(2, 3)) / std::sqrt(8.0) + *in.call.bias;
  const at::Tensor e = scores.exp() * seen, sum = e.sum(-1, true);
  const at::Tensor plain = at::matmul(e / at::where(sum > 0, sum, 1.0), in.v);
  const at::Tensor out = plain * share.transpose(1, 2).unsqueeze(3);
  const auto grads = torch::autograd::grad({(out * by_out).sum()}, {x, w});
  return {out.detach(), grads[0], grads[1]};
}

TEST(HeadRouter, IsItsDefinition) {
  at::manual_seed(14);
  const auto attention = made<HeadRouterAttention>("head_router:k=2,causal=true", 4, 8);
  for (const auto type : {at::kDouble, at::kFloat}) {
    AttentionInput input = rows_of(2, 4, 150, 8, at::kDouble);
    input.call.mask = at::rand({2, 1, 150, 150}) > 0.2;
    input.call.bias = at::randn({1, 4, 150, 150}, at::kDouble);
    input.call.key_lengths = at::tensor({150, 90});
    const at::Tensor by_out = at::randn_like(input.v);
    const Routed expected = routed_by_definition(input, attention->router->weight.to(at::kDouble), by_out);
    attention->to(type);
    for (at::Tensor* t : {&input.q, &input.k, &input.v, &input.x}) *t = t->to(type);
    input.call.bias = input.call.bias->to(type);
    input.x.requires_grad_();
    const at::Tensor out = attention->forward(input).out;
    const auto grads =
        torch::autograd::grad({(out * by_out.to(type)).sum()}, {input.x, attention->router->weight});
    const double within = type == at::kDouble ? 1e-11 : 2e-5;
    EXPECT_LT(gap(out, expected.out), within);
    EXPECT_LT(gap(grads[0], expected.by_x), within * expected.by_x.abs().max().item<double>());
    EXPECT_LT(gap(grads[1], expected.by_router), within * expected.by_router.abs().max().item<double>());
    attention->to(at::kDouble);
  }
}

TEST(HeadRouter, OfAllHeadsAlikeIsAPartOfSoftmax) {
  at::manual_seed(15);
  const AttentionInput input = rows_of(2, 4, 30, 8);
  const auto attention = made<HeadRouterAttention>("head_router:k=4", 4, 8);
  const torch::NoGradGuard no_grad;
  attention->router->weight.zero_();
  const at::Tensor plain = made<Attention>("softmax", 4, 8)->forward(input).out;
  EXPECT_LT(gap(attention->forward(input).out * 4, plain), 1e-6);
  EXPECT_NEAR(attention->balance_loss(input.x).item<double>(), 4.0, 1e-6);
  EXPECT_NEAR(attention->z_loss(input.x).item<double>(), std::pow(std::log(4.0), 2), 1e-6);
}

TEST(HeadRouter, ChoosesTwoUnlessTold) {
  at::manual_seed(17);
  for (const int64_t heads : {1, 2, 5}) {
    const auto attention = made<HeadRouterAttention>("head_router", heads, 8);
    const at::Tensor chosen = (attention->weights(at::randn({2, 7, kWide})) > 0).sum(2);
    EXPECT_TRUE((chosen == std::min<int64_t>(heads, 2)).all().item<bool>()) << heads;
  }
}

// Losses of rows that all choose one head of four, with probability p.
TEST(HeadRouter, LossesAreTheirFormulas) {
  const auto attention = made<HeadRouterAttention>("head_router:k=1", 4, 8);
  const torch::NoGradGuard no_grad;
  attention->router->weight.zero_().select(1, 0).copy_(at::tensor({0.0, 2.0, 0.0, 0.0}));
  const at::Tensor x = at::zeros({2, 5, kWide});
  x.select(2, 0).fill_(1.0);
  const double sum = 3 + std::exp(2.0);
  EXPECT_NEAR(attention->balance_loss(x).item<double>(), 4 * std::exp(2.0) / sum, 1e-6);
  EXPECT_NEAR(attention->z_loss(x).item<double>(), std::pow(std::log(sum), 2), 1e-5);
}

TEST(HeadRouter, SkippedHeadsSaveTime) {
  at::manual_seed(16);
  const AttentionInput input = rows_of(1, 8, 2048, 32);
  const auto all = made<HeadRouterAttention>("head_router:k=8", 8, 32),
             two = made<HeadRouterAttention>("head_router:k=2", 8, 32);
  const double ratio = seconds_of(*all, input) / seconds_of(*two, input);
  RecordProperty("ratio", std::to_string(ratio));
  EXPECT_GT(ratio, 2.0);
}

}  // namespace
}  // namespace fovea::nn
