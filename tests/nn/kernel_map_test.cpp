#include "fovea/nn/attention/kernel_map.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/serialize/archive.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "fovea/nn/attention/multi_head_attention.h"
#include "fovea/nn/attention/performer.h"
#include "fovea/nn/attention/registry.h"
#include "tests/nn/gap.h"
#include "tests/support/errors.h"

namespace fovea::nn {
namespace {

constexpr int64_t kLength = 200;

AttentionInput kernel_map_input(int64_t kv_heads = 2, at::ScalarType type = at::kDouble) {
  AttentionInput input;
  input.q = at::randn({2, 4, kLength, 4}).to(type);
  input.k = at::randn({2, kv_heads, kLength, 4}).to(type);
  input.v = at::randn({2, kv_heads, kLength, 3}).to(type);
  return input;
}

std::shared_ptr<Attention> built_kernel_map(const std::string& text, int64_t kv_heads = 2) {
  auto attention = parse_attention(text).build({4, kv_heads, 4, 3});
  attention->to(at::kDouble);
  return attention;
}

constexpr const char* kCausalOnes[] = {"linear:causal=true", "performer:causal=true",
                                       "performer:kernel=relu,causal=true"};

// Step by step, by one or several positions, in chunks, and by the matrix of all pairs.
TEST(KernelMap, StepsAreChunksAreTheMatrix) {
  at::manual_seed(31);
  for (const std::string text : kCausalOnes) {
    AttentionInput input = kernel_map_input();
    // The largest key comes last: what was summed before has to shrink.
    input.k.select(2, kLength - 1).mul_(4.0);
    const auto attention = built_kernel_map(text);
    const at::Tensor chunked = attention->forward(input).out;
    input.call.weights = true;
    const AttentionOutput matrix = attention->forward(input);
    EXPECT_LT(gap(chunked, matrix.out), 1e-12) << text;
    EXPECT_LT(gap(chunked, matrix.weights.matmul(input.v.repeat_interleave(2, 1))), 1e-12) << text;
    EXPECT_LT(gap(matrix.weights.sum(-1), at::ones({}, at::kDouble)), 1e-12) << text;
    auto& steps = dynamic_cast<KernelMapAttention&>(*attention);
    for (const int64_t stride : {1, 7, 90}) {
      LinearState state;
      std::vector<at::Tensor> parts;
      const auto none = [](const at::Tensor& t) { return t.slice(2, 0, 0); };
      EXPECT_EQ(steps.step(none(input.q), none(input.k), none(input.v), state).numel(), 0);
      for (int64_t begin = 0; begin < kLength; begin += stride) {
        const auto part = [&](const at::Tensor& t) { return t.slice(2, begin, begin + stride); };
        parts.push_back(steps.step(part(input.q), part(input.k), part(input.v), state));
      }
      EXPECT_LT(gap(at::cat(parts, 2), chunked), 1e-12) << text << " by " << stride;
    }
  }
}

// What comes later has no influence, NaN and infinity included, nor has it on gradients.
TEST(KernelMap, TheFutureChangesNothing) {
  at::manual_seed(32);
  constexpr int64_t kLast = 150;
  for (const std::string text : kCausalOnes) {
    const auto attention = built_kernel_map(text);
    const AttentionInput clean = kernel_map_input();
    const auto early = [&](double key, double value) {
      AttentionInput input = clean;
      input.k = clean.k.clone(), input.v = clean.v.clone();
      input.k.select(2, kLast).fill_(key), input.v.select(2, kLast).fill_(value);
      for (at::Tensor* t : {&input.q, &input.k, &input.v}) *t = t->detach().clone().requires_grad_();
      const at::Tensor out = attention->forward(input).out;
      out.slice(2, 0, kLast).square().sum().backward();
      EXPECT_EQ(at::isfinite(out.slice(2, kLast)).all().item<bool>(), std::isfinite(value)) << text;
      return std::vector<at::Tensor>{out.detach().slice(2, 0, kLast), input.q.grad(),
                                     input.k.grad().slice(2, 0, kLast), input.v.grad()};
    };
    const auto expected = early(0.5, -0.5);
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    for (const double bad : {kNan, std::numeric_limits<double>::infinity()}) {
      const auto found = early(bad, bad), of_value = early(0.5, bad);
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_LT(gap(found[i], expected[i]), 1e-12) << text << ' ' << bad << ' ' << i;
        EXPECT_LT(gap(of_value[i], expected[i]), 1e-12) << text << ' ' << bad << ' ' << i;
      }
    }
  }
}

TEST(KernelMap, HidesKeysByMaskAsByLengths) {
  at::manual_seed(33);
  const at::Tensor lengths = at::tensor({int64_t{120}, int64_t{0}});
  for (const std::string text : {"linear", "performer", "efficient", "linear:causal=bottom_right"}) {
    const auto attention = built_kernel_map(text);
    AttentionInput input = kernel_map_input();
    input.call.key_lengths = lengths;
    const at::Tensor by_lengths = attention->forward(input).out;
    EXPECT_EQ(by_lengths[1].abs().max().item<double>(), 0.0) << text;
    input.call.key_lengths.reset();
    input.call.mask = (at::arange(kLength) < lengths.unsqueeze(1)).view({2, 1, 1, kLength});
    EXPECT_LT(gap(by_lengths, attention->forward(input).out), 1e-14) << text;
    input.call.weights = true;
    const AttentionOutput matrix = attention->forward(input);
    EXPECT_LT(gap(by_lengths, matrix.out), 1e-13) << text;
    EXPECT_EQ(matrix.weights.slice(3, 120).abs().max().item<double>(), 0.0) << text;
  }
}

// All of a key's exponents far below what float32 holds, and all far above.
TEST(KernelMap, PerformerDoesNotOverflow) {
  at::manual_seed(34);
  const auto attention = parse_attention("performer:features=16,causal=true").build({4, 2, 4, 3});
  for (const double scale : {0.0, 1.0, 30.0}) {
    AttentionInput input = kernel_map_input(2, at::kFloat);
    for (at::Tensor* t : {&input.q, &input.k}) *t = (*t * scale).requires_grad_();
    const at::Tensor out = attention->forward(input).out;
    out.square().sum().backward();
    EXPECT_TRUE(at::isfinite(out).all().item<bool>()) << scale;
    EXPECT_TRUE(at::isfinite(input.q.grad()).all().item<bool>()) << scale;
    EXPECT_TRUE(at::isfinite(input.k.grad()).all().item<bool>()) << scale;
  }
}

// Logarithms of the paper's features, w_r . x / D^(1/4) - |x|^2 / (2 sqrt(D)), (B, H, T, R) in float64.
at::Tensor log_features(const Attention& performer, const at::Tensor& x) {
  const at::Tensor w = performer.named_buffers()["projection_matrix"].to(at::kDouble);
  const double root = std::sqrt(static_cast<double>(x.size(3)));
  return at::matmul(x, w.t()) / std::sqrt(root) - x.square().sum(-1, true) / (2 * root);
}

// What Performer gives, by logarithms alone: no size of them overflows.
at::Tensor by_logarithms(const Attention& performer, const AttentionInput& input, bool causal) {
  const at::Tensor pairs = at::logsumexp(
      log_features(performer, input.q).unsqueeze(3) + log_features(performer, input.k).unsqueeze(2), {-1});
  const at::Tensor later = at::ones({pairs.size(2), pairs.size(3)}, at::kBool).triu(1);
  const at::Tensor seen = causal ? pairs.masked_fill(later, -std::numeric_limits<double>::infinity()) : pairs;
  return seen.softmax(-1).matmul(input.v);
}

// (1, 2, T, 64), row t as long as lengths[t].
at::Tensor rows_of_lengths(const std::vector<double>& lengths) {
  const auto count = static_cast<int64_t>(lengths.size());
  const at::Tensor rows = at::randn({1, 2, count, 64}, at::kDouble);
  return (rows / rows.norm(2, -1, true) * at::tensor(lengths, at::kDouble).unsqueeze(1)).to(at::kFloat);
}

// Features of queries up to e^170, of keys about e^-156: float32 holds neither.
TEST(KernelMap, PerformerKeepsItsDigitsAtAnySize) {
  at::manual_seed(38);
  const auto attention = parse_attention("performer:features=16").build({2, 2, 64, 3});
  std::vector<double> lengths;
  for (int t = 0; t < 40; ++t) lengths.push_back(t % 4 == 0 ? 200.0 : 0.1 * t);
  AttentionInput input;
  input.q = rows_of_lengths(lengths), input.k = rows_of_lengths(std::vector<double>(40, 50.0));
  input.v = at::randn({1, 2, 40, 3});
  const auto results = [&](at::ScalarType type) {
    AttentionInput own = input;
    for (at::Tensor* t : {&own.q, &own.k, &own.v}) *t = t->to(type, false, /*copy=*/true).requires_grad_();
    const at::Tensor out =
        type == at::kDouble ? by_logarithms(*attention, own, false) : attention->forward(own).out;
    out.square().sum().backward();
    return std::vector<at::Tensor>{out.detach(), own.q.grad(), own.k.grad(), own.v.grad()};
  };
  const auto found = results(at::kFloat), expected = results(at::kDouble);
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_LT(gap(found[i], expected[i]), 1e-3 * expected[i].abs().max().item<double>()) << i;
  }
}

// Keys of which one e^150 times as large as another comes before it, and behind.
TEST(KernelMap, PerformersStepsKeepTheirDigits) {
  at::manual_seed(39);
  const auto attention = parse_attention("performer:features=16,causal=true").build({2, 2, 64, 3});
  auto& steps = dynamic_cast<KernelMapAttention&>(*attention);
  for (const auto& lengths : {std::vector<double>{1, 1, 1, 50, 50, 50, 1, 1, 1},
                              std::vector<double>{50, 50, 50, 1, 1, 1, 50, 50, 50}}) {
    AttentionInput input, wide;
    input.q = rows_of_lengths(std::vector<double>(9, 1.0)), input.k = rows_of_lengths(lengths);
    input.v = at::randn({1, 2, 9, 3});
    wide.q = input.q.to(at::kDouble), wide.k = input.k.to(at::kDouble), wide.v = input.v.to(at::kDouble);
    const at::Tensor expected = by_logarithms(*attention, wide, true);
    LinearState state;
    for (int64_t t = 0; t < 9; ++t) {
      const auto at_t = [&](const at::Tensor& rows) { return rows.narrow(2, t, 1); };
      const at::Tensor out = steps.step(at_t(input.q), at_t(input.k), at_t(input.v), state);
      EXPECT_LT(gap(out, at_t(expected)), 1e-4) << lengths[0] << ' ' << t;
    }
  }
}

// elu(x) + 1 has digits left where exp(x) has.
TEST(KernelMap, LinearKeepsSmallFeatures) {
  AttentionInput input = kernel_map_input(2, at::kFloat);
  input.k = input.k - 30.0;
  AttentionInput wide = input;
  for (at::Tensor* t : {&wide.q, &wide.k, &wide.v}) *t = t->to(at::kDouble);
  const auto attention = parse_attention("linear").build({4, 2, 4, 3});
  EXPECT_LT(gap(attention->forward(input).out.to(at::kDouble), attention->forward(wide).out), 1e-5);
}

TEST(KernelMap, ComputesHalfTypesInFloat32) {
  at::manual_seed(35);
  for (const std::string text : {"linear:causal=true", "performer", "efficient"}) {
    const auto attention = parse_attention(text).build({4, 2, 4, 3});
    for (const auto type : {at::kBFloat16, at::kHalf}) {
      AttentionInput half = kernel_map_input(2, type), wide = half;
      for (at::Tensor* t : {&wide.q, &wide.k, &wide.v}) *t = t->to(at::kFloat);
      const at::Tensor out = attention->forward(half).out;
      EXPECT_EQ(out.scalar_type(), type);
      EXPECT_TRUE(out.equal(attention->forward(wide).out.to(type))) << text;
    }
  }
}

std::string saved(const torch::nn::Module& module) {
  torch::serialize::OutputArchive archive;
  module.save(archive);
  std::ostringstream text;
  archive.save_to(text);
  return text.str();
}

TEST(KernelMap, FeaturesAreSavedAndDrawnAnew) {
  at::manual_seed(36);
  const AttentionInput input = kernel_map_input();
  const auto first = built_kernel_map("performer:seed=1"), second = built_kernel_map("performer:seed=2");
  auto& performer = dynamic_cast<PerformerAttention&>(*second);
  const at::Tensor before = second->forward(input).out;
  EXPECT_GT(gap(first->forward(input).out, before), 1e-3);
  performer.redraw(1);
  EXPECT_TRUE(first->forward(input).out.equal(second->forward(input).out));
  performer.redraw(5);
  const at::Tensor drawn = second->forward(input).out;
  EXPECT_GT(gap(drawn, before), 1e-3);
  std::istringstream text(saved(*second));
  torch::serialize::InputArchive archive;
  archive.load_from(text);
  first->load(archive);
  EXPECT_TRUE(first->forward(input).out.equal(drawn));
  EXPECT_TRUE(second->parameters().empty());
}

TEST(KernelMap, RunsBetweenProjections) {
  at::manual_seed(37);
  for (const std::string text : {"linear:causal=true", "performer", "efficient"}) {
    MultiHeadAttentionOptions options;
    options.embed_dim = 12, options.num_heads = 3, options.attention = text;
    MultiHeadAttention host(options);
    const at::Tensor x = at::randn({2, 9, 12}).requires_grad_();
    host->forward(x, x, x, {}).out.square().sum().backward();
    EXPECT_GT(x.grad().abs().max().item<double>(), 0.0) << text;
  }
}

TEST(KernelMap, RefusesWhatItCannot) {
  const auto refuses = [](const std::string& text, const std::string& part, auto&& change) {
    AttentionInput input = kernel_map_input();
    change(input.call);
    expect_error(ErrorKind::usage, {part}, [&] { built_kernel_map(text)->forward(input); });
  };
  refuses("efficient", "[efficient] it cannot run in causal order",
          [](auto& call) { call.causal = CausalAlignment::top_left; });
  refuses("linear", "[linear] it takes no masks; found a mask (", [](auto& call) {
    call.mask = at::ones({kLength, kLength}, at::kBool);
  });
  refuses("linear", "its mask must be of keys", [](auto& call) {
    call.mask = at::ones({2, 4, 1, kLength}, at::kBool);
  });
  refuses("performer", "the mask must be boolean", [](auto& call) {
    call.mask = at::ones({2, 1, 1, kLength});
  });
  refuses("performer", "key_lengths must be integers of shape (B)",
          [](auto& call) { call.key_lengths = at::ones({3}, at::kLong); });
  refuses("performer", "Set the dropout of attention to 0", [](auto& call) { call.dropout_p = 0.1; });
  refuses("linear", "no biases", [](auto& call) { call.bias = at::zeros({1}); });
  refuses("linear", "an observation", [](auto& call) { call.observe.entropy = true; });
  refuses("linear:causal=true", "aligned alike",
          [](auto& call) { call.causal = CausalAlignment::bottom_right; });
  const auto no_plan = [](const std::string& text, const std::string& part) {
    expect_error(ErrorKind::usage, {part}, [&] { parse_attention(text); });
  };
  no_plan("performer:features=0", "features must be a whole number from 1; found '0'");
  no_plan("performer:features=-3", "features must be a whole number from 1");
  no_plan("performer:features=100000", "features must be at most 65536; found 100000");
  no_plan("performer:kernel=gelu", "kernel must be softmax or relu; found 'gelu'");
  no_plan("efficient:causal=true", "[efficient] it cannot run in causal order; found causal=true");
  no_plan("sparse_fixed:causal=true", "[sparse_fixed] it has no choice of causal order");
  LinearState state;
  const AttentionInput input = kernel_map_input();
  expect_error(ErrorKind::usage, {"[efficient] it cannot run in causal order"}, [&] {
    dynamic_cast<KernelMapAttention&>(*built_kernel_map("efficient")).step(input.q, input.k, input.v, state);
  });
  expect_error(ErrorKind::usage, {"aligned alike"}, [&] {
    dynamic_cast<KernelMapAttention&>(*built_kernel_map("linear:causal=bottom_right"))
        .step(input.q, input.k, input.v, state);
  });
}

}  // namespace
}  // namespace fovea::nn
