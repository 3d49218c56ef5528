#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "fovea/nn/position/rotary.h"
#include "fovea/nn/position/sinusoidal.h"
#include "tests/nn/schemes.h"
#include "tests/support/errors.h"

// Position schemes by themselves: their formulas, pair by pair, and what follows from them.

namespace fovea::nn {
namespace {

using schemes::make_scheme, schemes::random_call, schemes::scheme_softmax;

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return a.numel() == 0 ? 0.0 : (a - b).abs().max().item<double>();
}

// What a formula adds to keys (H|1, N, M, D), to values (N, M, D), to scores (H, N, M).
struct OfPairs {
  at::Tensor keys = at::zeros({1}, at::kDouble), values = at::zeros({1}, at::kDouble),
             scores = at::zeros({1}, at::kDouble);
};

at::Tensor each_pair(const AttentionInput& input, const OfPairs& add) {
  const at::Tensor keys = input.k.unsqueeze(2) + add.keys, values = input.v.unsqueeze(2) + add.values;
  at::Tensor scores = (input.q.unsqueeze(3) * keys).sum(-1) / std::sqrt(1.0 * schemes::kSize) + add.scores;
  at::Tensor seen = at::ones({input.q.size(2), input.q.size(2)}, at::kBool);
  if (input.call.causal != CausalAlignment::none) seen = seen.tril();
  if (input.call.key_lengths) {
    seen = seen & (at::arange(input.q.size(2)) < input.call.key_lengths->view({-1, 1, 1, 1}));
  }
  const at::Tensor e = scores.exp() * seen, sum = e.sum(-1, true);
  const at::Tensor weights = e / at::where(sum > 0, sum, at::ones_like(sum));
  return (weights.unsqueeze(-1) * values).sum(3);
}

// table (..., 2 R + 1, D) -> (..., N, M, D), the row of each clipped distance.
at::Tensor of_each_pair(const at::Tensor& table, int64_t length) {
  const int64_t reach = table.size(-2) / 2;
  const at::Tensor distance = at::arange(length) - at::arange(length).unsqueeze(1);
  return table.index_select(-2, (distance.clamp(-reach, reach) + reach).flatten())
      .unflatten(-2, {length, length});
}

std::vector<at::Tensor> gradients_of(const at::Tensor& out, std::vector<at::Tensor> leaves) {
  const at::Tensor seen = at::arange(out.numel(), at::kDouble).add(1).mul(0.7).cos().view_as(out);
  return torch::autograd::grad({(out * seen).sum()}, leaves);
}

// Results and gradients, whole, in causal order and with padding that hides all of a batch entry.
void expect_formula(const std::string& text, const std::function<OfPairs(Position&, int64_t)>& add,
                    double within) {
  at::manual_seed(31);
  const auto scheme = make_scheme(text);
  for (const int64_t length : {1, 2, 15, 17, 64, 70}) {
    for (const bool hidden : {false, true}) {
      AttentionInput input = random_call(length);
      if (hidden) input.call.causal = CausalAlignment::top_left;
      if (hidden) input.call.key_lengths = at::tensor({length / 2, int64_t{0}});
      std::vector<at::Tensor> leaves = {input.q, input.k, input.v};
      for (const auto& p : scheme->parameters()) leaves.push_back(p);
      const at::Tensor found = scheme->attend(*scheme_softmax(), input).out,
                       expected = each_pair(input, add(*scheme, length));
      EXPECT_LT(largest_difference(found, expected), within) << text << length;
      const auto slopes = gradients_of(found, leaves), exact = gradients_of(expected, leaves);
      for (size_t i = 0; i < leaves.size(); ++i) {
        EXPECT_LT(largest_difference(slopes[i], exact[i]), 1e-11) << text << length << ' ' << i;
      }
      if (!hidden) continue;
      EXPECT_EQ(found[1].abs().max().item<double>(), 0.0) << text;
    }
  }
}

at::Tensor parameter_of(Position& scheme, const char* name) { return scheme.named_parameters()[name]; }

TEST(Position, ShawIsItsNaiveGather) {
  for (const char* text : {"shaw:max_distance=5", "shaw:max_distance=0", "shaw:max_distance=200"}) {
    expect_formula(
        text,
        [](Position& s, int64_t n) {
          return OfPairs{of_each_pair(parameter_of(s, "w_K"), n), of_each_pair(parameter_of(s, "w_V"), n)};
        },
        1e-13);
  }
  expect_formula(
      "shaw:max_distance=5,values=false",
      [](Position& s, int64_t n) { return OfPairs{of_each_pair(parameter_of(s, "w_K"), n)}; }, 1e-13);
}

TEST(Position, ShawGivesWeightsWhereTheyAreAsked) {
  const auto scheme = make_scheme("shaw:max_distance=2");
  AttentionInput input = random_call(6);
  EXPECT_FALSE(scheme->attend(*scheme_softmax(), input).weights.defined());
  input.call.weights = true;
  EXPECT_EQ(scheme->attend(*scheme_softmax(), input).weights.size(3), 6);
}

TEST(Position, MusicIsItsNaiveGather) {
  for (const char* text : {"music:max_distance=5", "music:max_distance=200"}) {
    expect_formula(
        text, [](Position& s, int64_t n) { return OfPairs{of_each_pair(parameter_of(s, "Er"), n)}; }, 1e-13);
  }
  expect_formula(
      "music:max_distance=5,bidirectional=false",
      [](Position& s, int64_t n) {
        const at::Tensor behind = parameter_of(s, "Er");
        return OfPairs{of_each_pair(
            at::cat({behind, at::zeros({schemes::kHeads, 5, schemes::kSize}, at::kDouble)}, 1), n)};
      },
      1e-13);
}

// The skew alone, of numbers of the size of 1.
TEST(Position, TheSkewEqualsTheGatherTo1e14) {
  at::manual_seed(32);
  const auto scheme = make_scheme("music:max_distance=40");
  AttentionInput input = random_call(60);
  input.k = at::zeros_like(input.k);
  input.q = input.q / input.q.norm(2, -1, true);
  input.call.weights = true;
  const at::Tensor found = scheme->attend(*scheme_softmax(), input).weights.log();
  const at::Tensor scores =
      (input.q.unsqueeze(3) * of_each_pair(parameter_of(*scheme, "Er"), 60)).sum(-1) / 2.0;
  EXPECT_LT(largest_difference(found, scores.log_softmax(-1)), 1e-14);
}

TEST(Position, AlibiIsItsPenalty) {
  expect_formula(
      "alibi",
      [](Position&, int64_t n) {
        // Three heads: the slopes of two, then the first of four.
        const at::Tensor slopes = at::tensor({0.0625, 0.00390625, 0.25}, at::kDouble).view({3, 1, 1});
        OfPairs add;
        add.scores = -slopes * (at::arange(n) - at::arange(n).unsqueeze(1)).abs();
        return add;
      },
      1e-13);
}

TEST(Position, T5HasBucketsOnTheSidesThatAreSeen) {
  const auto scheme = make_scheme("t5:num_buckets=8,max_distance=20");
  AttentionInput input = random_call(4);
  input.q = at::zeros_like(input.q), input.call.weights = true;
  const at::Tensor table = parameter_of(*scheme, "relative_attention_bias.weight").select(1, 0);
  const at::Tensor both = scheme->attend(*scheme_softmax(), input).weights[0][0].log();
  // 4 buckets a side: 0, 1, then steps of logarithms; 4 and more are for keys after the query.
  EXPECT_NEAR((both[1][2] - both[1][1] - table[5] + table[0]).item<double>(), 0.0, 1e-12);
  EXPECT_NEAR((both[1][0] - both[1][1] - table[1] + table[0]).item<double>(), 0.0, 1e-12);
  input.call.causal = CausalAlignment::top_left;
  const at::Tensor behind = scheme->attend(*scheme_softmax(), input).weights[0][0].log();
  // 8 buckets on one side: 0 to 3 are exact.
  EXPECT_NEAR((behind[3][0] - behind[3][3] - table[3] + table[0]).item<double>(), 0.0, 1e-12);
}

TEST(Position, SinusoidalIsItsFormula) {
  const at::Tensor table = sinusoidal_positions(at::arange(100), 8);
  EXPECT_EQ(table[0].sum().item<double>(), 4.0);
  EXPECT_NEAR(table[3][0].item<double>(), 0.1411200080598672, 1e-15);
  EXPECT_NEAR(table[3][1].item<double>(), -0.9899924966004454, 1e-15);
  EXPECT_NEAR(table[70][4].item<double>(), std::sin(70 / 100.0), 1e-14);
  EXPECT_NEAR(table[99][7].item<double>(), std::cos(99 / 1000.0), 1e-14);
  const at::Tensor x = at::randn({2, 100, 8}, at::kDouble);
  const auto scheme = parse_position("sinusoidal").build({{1, 1, 8, 8, 8}, {}});
  EXPECT_LT(largest_difference(scheme->after(0, x), x + table), 1e-15);
  EXPECT_TRUE(scheme->after(1, x).is_same(x)) << "it acts before the first layer";
}

// A step of k is the same rotation of each pair, wherever it starts.
TEST(Position, SinusoidalStepsAreRotations) {
  const at::Tensor table = sinusoidal_positions(at::arange(200), 8).unflatten(1, {4, 2}),
                   step = sinusoidal_positions(at::full({1}, 37), 8).view({4, 2});
  const at::Tensor sin = step.select(1, 0), cos = step.select(1, 1), s = table.select(2, 0),
                   c = table.select(2, 1);
  const at::Tensor moved = at::stack({s * cos + c * sin, c * cos - s * sin}, 2);
  EXPECT_LT(largest_difference(moved.slice(0, 0, 163), table.slice(0, 37)), 1e-13);
}

TEST(Position, RotaryScoresRestOnDistances) {
  at::manual_seed(33);
  const PositionShape shape = {{1, 1, 16, 16, 16}, {}};
  for (const char* text : {"rotary", "rotary:layout=interleaved", "rotary:size=6",
                           "rotary:scaling=yarn,factor=4,original_length=64"}) {
    const auto scheme = parse_position(text).build(shape);
    const auto& rotary = dynamic_cast<const RotaryPosition&>(*scheme);
    const at::Tensor q = at::randn({1, 1, 1, 16}, at::kDouble).expand({-1, -1, 20, -1}),
                     k = at::randn({1, 1, 1, 16}, at::kDouble).expand({-1, -1, 20, -1});
    const auto scores = [&](int64_t first) {
      const at::Tensor place = at::arange(first, first + 20);
      return at::matmul(rotary.turned(q, place), rotary.turned(k, place).transpose(2, 3))[0][0];
    };
    const at::Tensor near = scores(0);
    EXPECT_LT(largest_difference(near, scores(1000)), 1e-11) << text;
    EXPECT_LT(largest_difference(near.slice(0, 1).slice(1, 1), near.slice(0, 0, 19).slice(1, 0, 19)), 1e-12);
    EXPECT_GT(largest_difference(near[0], near[0][0]), 0.1) << text;
  }
}

TEST(Position, RotaryTurnsQueriesAndKeysAlike) {
  const auto scheme = make_scheme("rotary");
  const auto& rotary = dynamic_cast<const RotaryPosition&>(*scheme);
  const AttentionInput input = random_call(9);
  AttentionInput turned = input;
  turned.q = rotary.turned(input.q, at::arange(9)), turned.k = rotary.turned(input.k, at::arange(9));
  EXPECT_EQ(
      largest_difference(scheme->attend(*scheme_softmax(), input).out, scheme_softmax()->forward(turned).out),
      0.0);
}

TEST(Position, RotaryLayoutsAreOneInAnotherOrder) {
  const PositionShape shape = {{1, 1, 8, 8, 8}, {}};
  const at::Tensor x = at::randn({1, 1, 30, 8}, at::kDouble), places = at::arange(30);
  const auto turned = [&](const char* text, const at::Tensor& t) {
    return dynamic_cast<const RotaryPosition&>(*parse_position(text).build(shape)).turned(t, places);
  };
  const at::Tensor order = at::tensor({0, 2, 4, 6, 1, 3, 5, 7});
  EXPECT_TRUE(turned("rotary:layout=interleaved", x)
                  .index_select(3, order)
                  .equal(turned("rotary", x.index_select(3, order))));
  // What stands behind `size` stays.
  EXPECT_TRUE(turned("rotary:size=4", x).narrow(3, 4, 4).equal(x.narrow(3, 4, 4)));
  // Half types are turned in float32.
  const at::Tensor half = x.to(at::kBFloat16);
  EXPECT_TRUE(turned("rotary", half).equal(turned("rotary", half.to(at::kFloat)).to(at::kBFloat16)));
}

TEST(Position, LearnedKnowsSoManyRows) {
  const auto scheme = make_scheme("learned:max_len=7");
  const at::Tensor x = at::randn({2, 5, schemes::kWidth}, at::kDouble);
  EXPECT_TRUE(scheme->after(0, x).equal(x + parameter_of(*scheme, "pos_embed").narrow(1, 0, 5)));
  expect_error(ErrorKind::usage, {"[learned]", "8 rows, 7 vectors"}, [&] {
    scheme->after(0, at::zeros({1, 8, schemes::kWidth}));
  });
  EXPECT_EQ(parameter_of(*make_scheme("learned", schemes::grid(3, 4, 1)), "pos_embed").size(1), 13);
}

// Tokens before the grid have no place in it.
TEST(Position, GridsBeginBehindTheirPrefix) {
  for (const char* text : {"sine2d", "conditional"}) {
    const auto scheme = make_scheme(text, schemes::grid(3, 4, 2)),
               bare = make_scheme(text, schemes::grid(3, 4));
    const at::NoGradGuard no_grad;
    for (const auto& item : scheme->named_parameters())
      item.value().copy_(parameter_of(*bare, item.key().c_str()));
    const int64_t after = scheme->traits().after_layers;
    const at::Tensor x = at::randn({2, 14, schemes::kWidth}, at::kDouble), out = scheme->after(after, x);
    EXPECT_TRUE(out.narrow(1, 0, 2).equal(x.narrow(1, 0, 2))) << text;
    EXPECT_TRUE(out.narrow(1, 2, 12).allclose(bare->after(after, x.narrow(1, 2, 12)))) << text;
    EXPECT_TRUE(scheme->after(1 - after, x).is_same(x)) << text;
  }
}

// Away from the borders, whose zeros tell where they are.
TEST(Position, ConditionalMovesWithItsInput) {
  at::manual_seed(34);
  const auto scheme = make_scheme("conditional", schemes::grid(8, 9));
  const at::NoGradGuard no_grad;
  const at::Tensor image = at::randn({1, schemes::kWidth, 9, 11}, at::kDouble);
  const auto run = [&](int64_t y, int64_t x) {
    const at::Tensor part = image.narrow(2, y, 8).narrow(3, x, 9);
    return scheme->after(1, part.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, {8, 9});
  };
  const at::Tensor still = run(0, 0), moved = run(1, 2);
  EXPECT_LT(largest_difference(moved.narrow(2, 1, 5).narrow(3, 1, 5), still.narrow(2, 2, 5).narrow(3, 3, 5)),
            1e-13);
  EXPECT_GT(largest_difference(moved.narrow(2, 0, 5).narrow(3, 0, 5), still.narrow(2, 1, 5).narrow(3, 2, 5)),
            0.1)
      << "borders are seen";
}

// Of every parameter and operand, along random directions.
TEST(Position, GradientsAreSlopes) {
  at::manual_seed(35);
  for (const auto& entry : position_entries()) {
    const auto scheme = make_scheme(entry.name, schemes::grid(2, 3));
    AttentionInput input = random_call(6);
    at::Tensor x = at::randn({1, 6, schemes::kWidth}, at::kDouble).requires_grad_();
    std::vector<at::Tensor> leaves = {input.q, input.k, input.v, x};
    for (const auto& p : scheme->parameters()) leaves.push_back(p);
    const auto value = [&] {
      const at::Tensor rows = scheme->after(1, scheme->after(0, x));
      return at::cat({scheme->attend(*scheme_softmax(), input).out.flatten(), rows.flatten()});
    };
    const auto gradients = gradients_of(value(), leaves);
    const at::Tensor seen = at::arange(value().numel(), at::kDouble).add(1).mul(0.7).cos();
    const at::NoGradGuard no_grad;
    for (size_t i = 0; i < leaves.size(); ++i) {
      constexpr double kStep = 1e-6;
      const at::Tensor direction = at::randn_like(leaves[i]);
      const auto at_step = [&](double step) {
        leaves[i].add_(direction, step);
        const double sum = (value() * seen).sum().item<double>();
        leaves[i].sub_(direction, step);
        return sum;
      };
      const double slope = (at_step(kStep) - at_step(-kStep)) / (2 * kStep);
      EXPECT_NEAR((gradients[i] * direction).sum().item<double>(), slope,
                  1e-7 * std::max(1.0, std::abs(slope)))
          << entry.name << ' ' << i;
    }
  }
}

TEST(Position, HiddenKeysHaveNoInfluence) {
  at::manual_seed(36);
  for (const auto& entry : position_entries()) {
    const auto scheme = make_scheme(entry.name, schemes::grid(3, 4));
    AttentionInput input = random_call(12);
    input.call.key_lengths = at::tensor({7, 12});
    const auto results = [&] {
      std::vector<at::Tensor> leaves = {input.q};
      if (scheme->acts_in_layers()) {
        for (const auto& p : scheme->parameters()) leaves.push_back(p);
      }
      const at::Tensor out = scheme->attend(*scheme_softmax(), input).out;
      auto all = gradients_of(out, leaves);
      all.push_back(out);
      return all;
    };
    const auto before = results();
    for (at::Tensor* t : {&input.k, &input.v}) {
      *t = t->detach().clone();
      (*t)[0].narrow(1, 7, 5).fill_(std::numeric_limits<double>::quiet_NaN());
    }
    const auto found = results();
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_LT(largest_difference(found[i], before[i]), 1e-12) << entry.name << ' ' << i;
    }
  }
}

}  // namespace
}  // namespace fovea::nn
