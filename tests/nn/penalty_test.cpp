#include "fovea/nn/penalty.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/modules/container/modulelist.h>

#include "fovea/nn/activation_checkpoint.h"
#include "fovea/nn/attention/head_gate.h"
#include "fovea/nn/attention/span.h"
#include "tests/nn/gap.h"
#include "tests/nn/range_inputs.h"

namespace fovea::nn {
namespace {

using range::made, range::rows_of;

// Of four spans of rows, of a head's parameter, and of gates; each by its own factor.
TEST(Penalty, IsWhatEachModuleOwesOnce) {
  at::manual_seed(1);
  const AttentionInput input = rows_of(2, 2, 30, 8);
  const auto token = made<SpanAttention>("token_span:span=20,penalty=0.5,init=0.3", 2, 8),
             expire = made<SpanAttention>("expire_span:span=10,penalty=2", 2, 8),
             adaptive = made<SpanAttention>("adaptive_span:span=40,penalty=1", 2, 8),
             free = made<SpanAttention>("adaptive_span:span=40", 2, 8);
  const auto gate = made<HeadGateAttention>("head_gate:penalty=0.1", 2, 8);
  torch::nn::ModuleList network(token, expire, adaptive, free, gate);
  network->train();
  const auto run = [&] {
    for (const auto& module : *network) module->as<Attention>()->forward(input);
  };
  EXPECT_FALSE(take_penalties(*network).defined());
  run();
  const double owed = 0.5 * 0.3 + 2 * 0.1 + 0.5 + 0.1 * gate->l0_penalty().item<double>();
  EXPECT_NEAR(take_penalties(*network).item<double>(), owed, 1e-6);
  EXPECT_FALSE(take_penalties(*network).defined()) << "taken";
  network->eval();
  run();
  EXPECT_FALSE(take_penalties(*network).defined()) << "not training";
}

TEST(Penalty, IsOwedOnceUnderACheckpoint) {
  at::manual_seed(2);
  const AttentionInput input = rows_of(1, 2, 30, 8);
  torch::nn::ModuleList network(made<SpanAttention>("token_span:span=20,ramp=4,penalty=3", 2, 8));
  network->train();
  const auto attend = [&](const at::Tensor& v) {
    AttentionInput own = input;
    own.v = v;
    return network[0]->as<Attention>()->forward(own).out;
  };
  const auto gradients = [&](const at::Tensor& out) {
    const at::Tensor loss = out.square().sum() + take_penalties(*network);
    const auto found = torch::autograd::grad({loss}, network->parameters());
    EXPECT_FALSE(take_penalties(*network).defined());
    return found;
  };
  const at::Tensor v = input.v.detach().requires_grad_();
  const auto plain = gradients(attend(v)), recomputed = gradients(checkpoint(attend, v));
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(recomputed[i].equal(plain[i])) << i;
}

}  // namespace
}  // namespace fovea::nn
