#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>
#include <string>
#include <vector>

#include "fovea/nn/attention/registry.h"
#include "tests/nn/gap.h"

// Patterns that are attended to in two parts, beside their masks over all pairs, which a mask of nothing asks
// for.

namespace fovea::nn {
namespace {

constexpr int64_t kHeads = 4, kKvHeads = 2, kSize = 8;

AttentionInput drawn(int64_t length, at::ScalarType type) {
  AttentionInput input;
  const auto draw = [&](int64_t heads) {
    return at::randn({2, heads, length, kSize}, type).requires_grad_();
  };
  input.q = draw(kHeads), input.k = draw(kKvHeads), input.v = draw(kKvHeads);
  return input;
}

// out and the gradients by q, k, v and numbers of each head.
std::vector<at::Tensor> results(const std::string& text, const AttentionInput& input, bool whole) {
  const auto attention = parse_attention(text).build({kHeads, kKvHeads, kSize, kSize});
  attention->to(input.q.scalar_type());
  const torch::NoGradGuard no_grad;
  for (auto& of_head : attention->parameters()) of_head.copy_(at::arange(1, 1 + kHeads).view_as(of_head));
  AttentionInput own = input;
  const int64_t n = input.q.size(2);
  if (whole) own.call.mask = at::ones({1, 1, n, n}, at::kBool);
  const torch::AutoGradMode with_grad(true);
  const at::Tensor out = attention->forward(own).out;
  std::vector<at::Tensor> by = {own.q, own.k, own.v};
  for (const auto& of_head : attention->parameters()) by.push_back(of_head);
  const at::Tensor grad =
      at::cos(at::arange(out.numel(), out.options().requires_grad(false)).view(out.sizes()));
  std::vector<at::Tensor> all = torch::autograd::grad({out}, by, {grad});
  all.push_back(out.detach());
  return all;
}

void expect_equal(const std::string& text, const AttentionInput& input) {
  const double within = input.q.scalar_type() == at::kDouble ? 1e-12 : 1e-5;
  const auto parts = results(text, input, false), whole = results(text, input, true);
  ASSERT_EQ(parts.size(), whole.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    EXPECT_LT(gap(parts[i], whole[i]) / whole[i].abs().max().item<double>(), within)
        << text << ", " << input.q.size(2) << ": " << i;
  }
}

TEST(NearAndFar, EqualsTheMask) {
  at::manual_seed(1);
  for (const std::string text :
       {"sparse_strided:stride=5", "sparse_strided:stride=16,softcap=2", "sparse_fixed:stride=5,summary=2",
        "sparse_fixed:stride=16,summary=16", "sparse_strided:stride=7,scale=3,normaliser=softmax_sink",
        "sparse_fixed:stride=7,summary=3,normaliser=softmax_sink"}) {
    for (const int64_t length : {21, 83, 140, 256}) {
      expect_equal(text, drawn(length, at::kFloat));
      expect_equal(text, drawn(length, at::kDouble));
    }
  }
}

TEST(NearAndFar, DilatedWindowsEqualTheMask) {
  at::manual_seed(3);
  for (const std::string text :
       {"local:window=11,dilation=2", "softmax:window_left=20,dilation=3,causal=true", "softmax:dilation=3",
        "cosine:window=9,dilation=2,causal=bottom_right", "local:window=1,dilation=2"}) {
    for (const int64_t length : {192, 257}) {
      AttentionInput input = drawn(length, at::kFloat);
      expect_equal(text, input);
      input.call.key_lengths = at::tensor({int64_t{5}, length - 3});
      expect_equal(text, input);
    }
  }
}

TEST(NearAndFar, SeesNoPadding) {
  at::manual_seed(2);
  for (const std::string text : {"sparse_strided:stride=7", "sparse_fixed:stride=7,summary=3"}) {
    for (const int64_t known : {0, 3, 7, 40, 41, 62, 69}) {
      for (const auto type : {at::kFloat, at::kDouble}) {
        AttentionInput input = drawn(69, type);
        input.call.key_lengths = at::tensor({known, int64_t{69}});
        expect_equal(text, input);
        AttentionInput rubbish = input;
        rubbish.k = input.k.detach().clone(), rubbish.v = input.v.detach().clone();
        rubbish.k[0].narrow(1, known, 69 - known).fill_(std::numeric_limits<double>::quiet_NaN());
        rubbish.v[0].narrow(1, known, 69 - known).fill_(std::numeric_limits<double>::infinity());
        rubbish.k.requires_grad_(), rubbish.v.requires_grad_();
        const auto clean = results(text, input, false), given = results(text, rubbish, false);
        for (size_t i = 0; i < clean.size(); ++i) EXPECT_EQ(gap(clean[i], given[i]), 0.0) << text << known;
      }
    }
  }
}

TEST(NearAndFar, RefusesWhatAttendRefuses) {
  AttentionInput input = drawn(69, at::kFloat);
  const auto attention =
      parse_attention("sparse_fixed:stride=7,summary=3").build({kHeads, kKvHeads, kSize, kSize});
  for (const at::Tensor& lengths : {at::tensor({1.0, 2.0}), at::tensor({1, 2, 3})}) {
    input.call.key_lengths = lengths;
    EXPECT_THROW(attention->forward(input), std::exception);
  }
}

}  // namespace
}  // namespace fovea::nn
