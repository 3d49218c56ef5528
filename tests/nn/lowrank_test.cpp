#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "fovea/nn/attention/registry.h"
#include "tests/support/errors.h"

namespace fovea::nn {
namespace {

AttentionInput low_rank_input(int64_t length, at::ScalarType type = at::kDouble) {
  AttentionInput input;
  for (at::Tensor* t : {&input.q, &input.k, &input.v}) {
    *t = at::randn({3, 2, length, 4}, at::TensorOptions().dtype(type));
  }
  return input;
}

double largest(const at::Tensor& t) { return t.abs().max().item<double>(); }

std::shared_ptr<Attention> built_lowrank(const std::string& text) {
  auto attention = parse_attention(text).build({2, 2, 4, 4});
  attention->to(at::kDouble);
  return attention;
}

// Padding changes nothing of what is before it, not even with NaN in it.
TEST(LowRank, AnEntryIsWhatItIsWithoutPadding) {
  const std::vector<int64_t> lengths = {20, 7, 3};
  for (const char* text : {"nystrom", "nystrom:landmarks=3", "nystrom:exact=true,conv_kernel_size=3",
                           "linformer:length=32,rank=4", "lsh:chunk=32", "lsh:buckets=2,chunk=20,rounds=2",
                           "hybrid:block_size=3,query_block=4,chosen=2",
                           "hybrid:block_size=3,query_block=1,chosen=2,causal=true"}) {
    at::manual_seed(21);
    const auto attention = built_lowrank(text);
    AttentionInput input = low_rank_input(20);
    for (size_t b = 0; b < lengths.size(); ++b) {
      for (at::Tensor* t : {&input.q, &input.k, &input.v}) {
        t->select(0, static_cast<int64_t>(b))
            .slice(1, lengths[b])
            .fill_(std::numeric_limits<double>::quiet_NaN());
      }
    }
    input.call.key_lengths = at::tensor(lengths);
    const at::Tensor together = attention->forward(input).out;
    for (size_t b = 0; b < lengths.size(); ++b) {
      const auto own = [&](const at::Tensor& t) {
        return t.narrow(0, static_cast<int64_t>(b), 1).narrow(2, 0, lengths[b]);
      };
      AttentionInput alone;
      alone.q = own(input.q), alone.k = own(input.k), alone.v = own(input.v);
      EXPECT_LT(largest(own(together) - attention->forward(alone).out), 1e-12) << text << ' ' << b;
    }
  }
}

TEST(LowRank, NystromOfFewPositionsIsSoftmax) {
  at::manual_seed(22);
  const AttentionInput input = low_rank_input(9);
  const at::Tensor softmax = built_lowrank("softmax")->forward(input).out;
  EXPECT_LT(largest(built_lowrank("nystrom:exact=true")->forward(input).out - softmax), 1e-10);
}

// Steps converge on the pseudo-inverse.
TEST(LowRank, NystromsStepsApproachTheInverse) {
  at::manual_seed(23);
  AttentionInput input = low_rank_input(24);
  input.q = input.k = input.q * 3;
  const at::Tensor exact = built_lowrank("nystrom:landmarks=6,exact=true")->forward(input).out;
  double before = std::numeric_limits<double>::infinity();
  for (const char* steps : {"2", "6", "10", "20"}) {
    const at::Tensor out =
        built_lowrank(std::string("nystrom:landmarks=6,iterations=") + steps)->forward(input).out;
    const double error = largest(out - exact);
    EXPECT_LT(error, before) << steps;
    before = error;
  }
  EXPECT_LT(before, 1e-12);
}

// The gradient through the exact pseudo-inverse, along a random direction.
TEST(LowRank, NystromsExactInverseLearns) {
  at::manual_seed(24);
  const AttentionInput point = low_rank_input(12);
  const auto attention = built_lowrank("nystrom:landmarks=3,exact=true");
  const at::Tensor seen = at::randn_like(point.v), direction = at::randn_like(point.q);
  const auto value = [&](const at::Tensor& q) {
    AttentionInput input = point;
    input.q = q;
    return (attention->forward(input).out * seen).sum();
  };
  const at::Tensor q = point.q.clone().requires_grad_();
  const double slope = (torch::autograd::grad({value(q)}, {q})[0] * direction).sum().item<double>();
  constexpr double kStep = 1e-6;
  const double difference =
      (value(point.q + direction * kStep) - value(point.q - direction * kStep)).item<double>() / (2 * kStep);
  EXPECT_NEAR(slope, difference, 1e-6 * std::max(1.0, std::abs(difference)));
}

// One matrix for keys and values is two that are equal.
TEST(LowRank, LinformersSharingIsOfEqualMatrices) {
  at::manual_seed(25);
  const AttentionInput input = low_rank_input(10);
  const auto shared = built_lowrank("linformer:length=16,rank=4,sharing=key_value"),
             apart = built_lowrank("linformer:length=16,rank=4"),
             heads = built_lowrank("linformer:length=16,rank=4,sharing=none");
  const torch::NoGradGuard no_grad;
  const at::Tensor E = shared->named_parameters()["E"];
  for (const auto& other : {apart, heads}) {
    for (auto& item : other->named_parameters()) item.value().copy_(E.expand_as(item.value()));
    EXPECT_LT(largest(other->forward(input).out - shared->forward(input).out), 1e-13);
  }
  EXPECT_EQ(shared->parameters().size(), 1u);
}

TEST(LowRank, RefusesWhatDoesNotFit) {
  const auto refuses = [](const std::string& text, const std::string& part, auto&& change) {
    expect_error(ErrorKind::usage, {part}, [&] {
      AttentionInput input = low_rank_input(20);
      change(input);
      built_lowrank(text)->forward(input);
    });
  };
  const auto nothing = [](AttentionInput&) {};
  refuses("nystrom:landmarks=0", "landmarks must be a whole number from 1", nothing);
  refuses("nystrom:landmarks=21",
          "[nystrom] landmarks must be at most the positions of the sequence; found 21 of 20", nothing);
  refuses("nystrom:iterations=0", "iterations must be a whole number from 1", nothing);
  refuses("nystrom:iterations=1001", "iterations must be at most 1000; found 1001", nothing);
  refuses("nystrom:exact=true,iterations=3", "iterations belong to a pseudo-inverse by steps", nothing);
  refuses("nystrom:conv_kernel_size=4", "conv_kernel_size must be odd, or 0; found 4", nothing);
  refuses("linformer:rank=9,length=8", "rank must be at most length; found 9 of 8", nothing);
  refuses("linformer:rank=0", "rank must be a whole number from 1", nothing);
  refuses("linformer:rank=4,length=19", "at most length = 19 keys", nothing);
  refuses("lsh:buckets=7", "buckets must be even; found 7", nothing);
  refuses("lsh:buckets=0", "buckets must be a whole number from 2", nothing);
  refuses("lsh:chunk=0", "chunk must be a whole number from 1", nothing);
  refuses("lsh:rounds=0", "rounds must be a whole number from 1", nothing);
  for (const char* text : {"nystrom", "linformer:rank=4"}) {
    refuses(text, "cannot run in causal order",
            [](AttentionInput& input) { input.call.causal = CausalAlignment::top_left; });
  }
  for (const char* text : {"nystrom", "lsh"}) {
    refuses(text, "those of one sequence", [](AttentionInput& input) { input.cross = true; });
  }
  for (const char* text : {"nystrom", "linformer:rank=4", "lsh"}) {
    refuses(text, "takes no masks", [](AttentionInput& input) {
      input.call.mask = at::ones({20, 20}, at::kBool);
    });
    refuses(text, "has no weights to show", [](AttentionInput& input) { input.call.weights = true; });
    refuses(text, "Set the dropout of attention to 0",
            [](AttentionInput& input) { input.call.dropout_p = 0.1; });
    refuses(text, "key_lengths must be integers of shape (B)",
            [](AttentionInput& input) { input.call.key_lengths = at::ones({2}, at::kLong); });
    refuses(text, "key_lengths must be integers of shape (B)",
            [](AttentionInput& input) { input.call.key_lengths = at::ones({3}, at::kFloat); });
  }
}

TEST(LowRank, RoundsToBfloat16) {
  at::manual_seed(26);
  for (const char* text : {"nystrom:landmarks=8", "linformer:length=128,rank=8", "lsh:buckets=2,chunk=64"}) {
    const torch::NoGradGuard no_grad;
    const auto attention = parse_attention(text).build({2, 2, 4, 4});
    AttentionInput input = low_rank_input(100, at::kBFloat16), wide = input;
    wide.q = input.q.to(at::kFloat), wide.k = input.k.to(at::kFloat), wide.v = input.v.to(at::kFloat);
    const at::Tensor out = attention->forward(input).out;
    EXPECT_EQ(out.scalar_type(), at::kBFloat16) << text;
    EXPECT_LT(largest(out.to(at::kFloat) - attention->forward(wide).out), 0.05) << text;
  }
}

}  // namespace
}  // namespace fovea::nn
