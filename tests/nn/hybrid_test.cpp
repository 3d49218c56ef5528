#include "fovea/nn/attention/hybrid.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "fovea/io/tensors.h"
#include "fovea/nn/attention/registry.h"
#include "tests/nn/gap.h"
#include "tests/support/errors.h"

// The coarse choice of the hybrid mechanism, beside the proofs that it shares with all.

namespace fovea::nn {
namespace {

AttentionInput coarse_input(int64_t queries, int64_t keys, int64_t size, at::ScalarType type = at::kFloat) {
  AttentionInput input;
  input.q = at::randn({2, 2, queries, size}).to(type);
  input.k = at::randn({2, 2, keys, size}).to(type), input.v = at::randn({2, 2, keys, size}).to(type);
  return input;
}

std::shared_ptr<Attention> of_size(const std::string& text, int64_t size) {
  return parse_attention(text).build({2, 2, size, size});
}

// The result, and its gradients by q, k and v where it is multiplied by `seen`.
std::vector<at::Tensor> with_slopes(const std::string& text, AttentionInput input, const at::Tensor& seen) {
  for (at::Tensor* t : {&input.q, &input.k, &input.v}) *t = t->detach().clone().requires_grad_();
  const at::Tensor out = of_size(text, input.q.size(3))->forward(input).out;
  std::vector<at::Tensor> results = torch::autograd::grad({(out * seen).sum()}, {input.q, input.k, input.v});
  results.insert(results.begin(), out.detach());
  return results;
}

TEST(Hybrid, OfAllBlocksIsSoftmax) {
  at::manual_seed(51);
  for (const auto type : {at::kDouble, at::kFloat}) {
    for (const auto causal :
         {CausalAlignment::none, CausalAlignment::top_left, CausalAlignment::bottom_right}) {
      AttentionInput input = coarse_input(100, 130, 8, type);
      input.call.causal = causal;
      input.call.key_lengths = at::tensor({int64_t{130}, int64_t{77}});
      const at::Tensor seen = at::randn_like(input.q);
      const auto found = with_slopes("hybrid:block_size=16,query_block=24,chosen=9", input, seen),
                 expected = with_slopes("softmax", input, seen);
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_LT(gap(found[i], expected[i]), type == at::kDouble ? 1e-14 : 1e-6) << i;
      }
    }
  }
}

// The authors' brute force, of sequences that their blocks divide and do not.
TEST(Hybrid, EqualsTheAuthorsMoBA) {
  const io::TensorMap all = io::load_tensors(FOVEA_TEST_DATA "/nn/hybrid.safetensors");
  for (const std::string name : {"ragged", "whole", "own"}) {
    const auto number = [&](const char* key) { return all.at(name + "." + key); };
    AttentionInput input;
    input.q = number("q"), input.k = number("k"), input.v = number("v");
    const std::string text =
        "hybrid:query_block=1,causal=true,block_size=" + std::to_string(number("block").item<int64_t>()) +
        ",chosen=" + std::to_string(number("topk").item<int64_t>());
    const auto found = with_slopes(text, input, number("seen"));
    const char* keys[] = {"out", "grad.q", "grad.k", "grad.v"};
    for (size_t i = 0; i < found.size(); ++i)
      EXPECT_LT(gap(found[i], number(keys[i])), 1e-12) << name << ' ' << i;
  }
}

// Queries in the middle of a block too: what comes later takes no part in their choice.
TEST(Hybrid, TheFutureChangesNothing) {
  at::manual_seed(52);
  for (const char* text : {"hybrid:block_size=8,query_block=12,chosen=2,causal=true",
                           "hybrid:block_size=8,query_block=1,chosen=3,causal=true"}) {
    const AttentionInput input = coarse_input(100, 100, 4);
    const at::Tensor all = of_size(text, 4)->forward(input).out;
    for (const int64_t count : {1, 30, 43, 64, 99}) {
      for (const double later : {std::numeric_limits<double>::quiet_NaN(), 1e3}) {
        AttentionInput other = input;
        for (at::Tensor* t : {&other.q, &other.k, &other.v}) {
          *t = t->clone();
          t->slice(2, count).fill_(later);
        }
        const at::Tensor out = of_size(text, 4)->forward(other).out;
        EXPECT_LT(gap(out.slice(2, 0, count), all.slice(2, 0, count)), 1e-6) << text << ' ' << count;
      }
    }
  }
}

// A value that is not a number spoils the queries whose block chose its block, and no others.
TEST(Hybrid, SeesWhatItChose) {
  at::manual_seed(53);
  AttentionInput input = coarse_input(300, 410, 16);
  const auto attention = of_size("hybrid:block_size=64,query_block=40,chosen=2", 16);
  const at::Tensor chosen = dynamic_cast<HybridAttention&>(*attention).chosen_blocks(input);
  EXPECT_EQ(chosen.sizes(), (std::vector<int64_t>{2, 2, 8, 7}));
  EXPECT_TRUE((chosen.sum(-1) == 2).all().item<bool>());
  for (int64_t block = 0; block < 7; ++block) {
    AttentionInput other = input;
    other.v = input.v.clone();
    other.v.slice(2, block * 64, (block + 1) * 64).fill_(std::numeric_limits<double>::quiet_NaN());
    const at::Tensor spoilt = attention->forward(other).out.isnan().any(-1);
    EXPECT_TRUE(spoilt.equal(chosen.select(3, block).repeat_interleave(40, 2).narrow(2, 0, 300))) << block;
  }
}

// Where one block alone answers, its queries find it, and the result is softmax's.
TEST(Hybrid, FindsTheBlockThatAnswers) {
  at::manual_seed(54);
  AttentionInput input = coarse_input(128, 512, 16);
  const at::Tensor directions = at::eye(16).slice(0, 0, 8);
  input.q = input.q * 0.1 + 20 * directions.slice(0, 0, 2).repeat_interleave(64, 0);
  input.k = input.k * 0.1 + 4 * directions.flip(0).repeat_interleave(64, 0);
  const at::Tensor expected = of_size("softmax", 16)->forward(input).out;
  EXPECT_LT(gap(of_size("hybrid:chosen=1", 16)->forward(input).out, expected), 1e-4);
  input.q = -input.q;
  EXPECT_LT(gap(of_size("hybrid:chosen=1,scale=-0.25", 16)->forward(input).out, expected), 1e-4);
}

// The pairs of the formula, and a product of each block with each.
TEST(Hybrid, CostCountsPairs) {
  at::manual_seed(55);
  for (const char* options : {"", ",causal=true", ",causal=bottom_right"}) {
    for (const char* sizes : {"block_size=5,query_block=4,chosen=3", "block_size=2,query_block=9,chosen=2"}) {
      AttentionInput input = coarse_input(37, 40, 1, at::kDouble);
      input.call.weights = true;
      const auto attention = of_size(std::string("hybrid:") + sizes + options, 1);
      const at::Tensor pairs = (attention->forward(input).weights[0][0] > 0).sum();
      const int64_t blocks = sizes[11] == '5' ? 10 * 8 : 5 * 20;
      EXPECT_EQ(attention->cost(37, 40, 1).multiply_adds, 2 * pairs.item<int64_t>() + blocks)
          << sizes << options;
    }
  }
}

TEST(Hybrid, ChoosesTheSameInHalfTypes) {
  at::manual_seed(56);
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    const AttentionInput half = coarse_input(200, 200, 16, type);
    AttentionInput wide = half;
    for (at::Tensor* t : {&wide.q, &wide.k, &wide.v}) *t = t->to(at::kFloat);
    const auto attention = of_size("hybrid:block_size=32,query_block=16,chosen=2", 16);
    const at::Tensor out = attention->forward(half).out;
    EXPECT_EQ(out.scalar_type(), type);
    EXPECT_LT(gap(out, attention->forward(wide).out), 0.02);
  }
}

TEST(Hybrid, RefusesWhatDoesNotFit) {
  const auto refuses = [](const std::string& text, const std::string& part, auto&& change) {
    expect_error(ErrorKind::usage, {"[hybrid]", part}, [&] {
      AttentionInput input = coarse_input(20, 20, 4);
      change(input.call);
      of_size(text, 4)->forward(input);
    });
  };
  const auto nothing = [](AttentionCall&) {};
  refuses("hybrid:block_size=0", "block_size must be a whole number from 1", nothing);
  refuses("hybrid:query_block=0", "query_block must be a whole number from 1", nothing);
  refuses("hybrid:chosen=0", "chosen must be a whole number from 1", nothing);
  refuses("hybrid", "takes no masks", [](auto& call) { call.mask = at::ones({20, 20}, at::kBool); });
  refuses("hybrid", "takes no masks", [](auto& call) {
    call.blocks = AttendBlocks{at::ones({1, 1, 1, 1}, at::kBool), 64};
  });
  refuses("hybrid", "integers of shape (B)", [](auto& call) { call.key_lengths = at::ones({3}, at::kLong); });
  refuses("hybrid:causal=true", "aligned alike",
          [](auto& call) { call.causal = CausalAlignment::bottom_right; });
}

}  // namespace
}  // namespace fovea::nn
