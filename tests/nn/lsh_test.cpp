#include "fovea/nn/attention/lsh.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "fovea/nn/attention/registry.h"
#include "tests/nn/gap.h"

namespace fovea::nn {
namespace {

AttentionInput hashed_input(int64_t length, int64_t size, int64_t value_size) {
  AttentionInput input;
  input.q = input.k = at::randn({2, 2, length, size}, at::kDouble);
  input.v = at::randn({2, 2, length, value_size}, at::kDouble);
  return input;
}

std::shared_ptr<Attention> hashed(const std::string& options, const AttentionInput& input) {
  return parse_attention("lsh:" + options).build({2, 2, input.q.size(3), input.v.size(3)});
}

at::Tensor unit_rows(const at::Tensor& q) { return q / q.norm(2, -1, true); }

// In one chunk, or in one bucket of two chunks, which see each other.
TEST(Lsh, OneBucketIsSharedAttentionWithoutSelf) {
  at::manual_seed(31);
  const AttentionInput input = hashed_input(100, 8, 8);
  AttendOptions options;
  options.mask = at::eye(100, at::kBool).logical_not();
  options.scale = 1.0;
  const at::Tensor expected = attend(input.q, unit_rows(input.q), input.v, options).out;
  for (const char* text : {"chunk=100", "chunk=1000,rounds=3", "chunk=50,rounds=1", "chunk=64,rounds=3"}) {
    const auto attention = hashed(text, input);
    dynamic_cast<LshAttention&>(*attention).rotations.zero_();
    EXPECT_LT(gap(attention->forward(input).out, expected), 1e-12) << text;
  }
}

// Values that name their position show the weights: of each query's five nearest keys, the part that is
// found.
double recall(const AttentionInput& input, const std::string& options, const at::Tensor& nearest) {
  const at::Tensor weights = hashed(options, input)->forward(input).out;
  return (weights.gather(-1, nearest) > 0).to(at::kDouble).mean().item<double>();
}

TEST(Lsh, RoundsFindMoreOfTheNearestKeys) {
  at::manual_seed(32);
  constexpr int64_t kLength = 256;
  AttentionInput input = hashed_input(kLength, 16, kLength);
  input.v = at::eye(kLength, at::kDouble).expand({2, 2, kLength, kLength}).contiguous();
  at::Tensor scores = at::matmul(input.q, unit_rows(input.q).transpose(2, 3));
  scores.diagonal(0, 2, 3).fill_(-1e9);
  const at::Tensor nearest = std::get<1>(scores.topk(5, -1));
  std::vector<double> found;
  for (const char* rounds : {"1", "2", "4", "8", "16"}) {
    found.push_back(recall(input, std::string("buckets=16,chunk=32,rounds=") + rounds, nearest));
    if (found.size() > 1) {
      EXPECT_GT(found.back(), found[found.size() - 2] + 0.02) << rounds;
    }
  }
  // Near keys fall into one bucket far more often than the one in 16 of any two.
  EXPECT_GT(found.front(), 3.0 / 16);
  EXPECT_GT(found.back(), 0.9);
}

// What a hidden position holds, in queries too, reaches no other one.
TEST(Lsh, HiddenQueriesAreHiddenKeys) {
  at::manual_seed(33);
  AttentionInput input = hashed_input(100, 8, 8);
  const auto attention = hashed("buckets=4,chunk=16,rounds=2", input);
  input.call.key_lengths = at::tensor({100, 61});
  const auto run = [&](double filling) {
    for (at::Tensor* t : {&input.q, &input.v}) {
      *t = t->detach().clone();
      t->select(0, 1).slice(1, 61).fill_(filling);
      t->requires_grad_();
    }
    const at::Tensor out = attention->forward(input).out;
    const at::Tensor real = at::cat({out[0].flatten(), out[1].slice(1, 0, 61).flatten()});
    auto found = torch::autograd::grad({real.sin().sum()}, {input.q, input.v});
    found.push_back(real.detach());
    return found;
  };
  const auto before = run(0.5), after = run(std::numeric_limits<double>::quiet_NaN());
  for (size_t i = 0; i < before.size(); ++i) EXPECT_LT(gap(before[i], after[i]), 1e-12) << i;
}

TEST(Lsh, IsAFunctionOfItsSeed) {
  at::manual_seed(34);
  const AttentionInput input = hashed_input(200, 8, 8);
  const auto run = [&](const char* seed) {
    return hashed(std::string("buckets=8,chunk=16,rounds=1,seed=") + seed, input)->forward(input).out;
  };
  EXPECT_TRUE(run("3").equal(run("3")));
  EXPECT_GT(gap(run("3"), run("4")), 0.01);
}

TEST(Lsh, CausalOrderIsAskedOfItOrOfTheCall) {
  at::manual_seed(36);
  AttentionInput input = hashed_input(100, 8, 8);
  for (const std::string sizes : {"buckets=4,chunk=16", "chunk=128"}) {
    input.call.causal = CausalAlignment::none;
    const auto of_its_own = hashed(sizes + ",causal=true", input);
    EXPECT_EQ(of_its_own->causal(), CausalAlignment::top_left);
    const at::Tensor out = of_its_own->forward(input).out, all = hashed(sizes, input)->forward(input).out;
    EXPECT_GT(gap(out, all), 0.01) << sizes;
    input.call.causal = CausalAlignment::top_left;
    EXPECT_TRUE(hashed(sizes, input)->forward(input).out.equal(out)) << sizes;
  }
}

// Keys are the queries of unit length: k is not read.
TEST(Lsh, ReadsNoKeys) {
  at::manual_seed(35);
  AttentionInput input = hashed_input(100, 8, 8);
  const auto attention = hashed("buckets=4,chunk=16", input);
  const at::Tensor out = attention->forward(input).out;
  input.k = at::full_like(input.k, std::numeric_limits<double>::quiet_NaN());
  EXPECT_TRUE(attention->forward(input).out.equal(out));
}

}  // namespace
}  // namespace fovea::nn
