#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "fovea/nn/attention/adaptive_span.h"
#include "fovea/nn/attention/expire_memory.h"
#include "fovea/nn/attention/expire_span.h"
#include "fovea/nn/attention/forgetting.h"
#include "fovea/nn/attention/registry.h"
#include "tests/nn/gap.h"
#include "tests/nn/range_inputs.h"
#include "tests/support/errors.h"

// What mechanisms that learn their range do beside the six proofs: what they skip, what they remember.

namespace fovea::nn {
namespace {

using range::kWide, range::made, range::rows_of, range::seconds_of;

// Queries are put in the order of their centres: one without a centre must not move the others' keys.
TEST(LocalP, AQueryThatIsNoNumberHarmsNoOther) {
  at::manual_seed(9);
  AttentionInput input = rows_of(2, 3, 300, 8);
  const auto local = made<Attention>("local_p:window=5", 3, 8);
  const torch::NoGradGuard no_grad;
  const at::Tensor clean = local->forward(input).out;
  input.q = input.q.clone();
  input.q.select(2, 7).fill_(std::numeric_limits<float>::quiet_NaN());
  input.q.select(2, 250).select(2, 0).fill_(std::numeric_limits<float>::quiet_NaN());
  at::Tensor given = local->forward(input).out;
  for (const int64_t row : {7, 250}) given.select(2, row).copy_(clean.select(2, row));
  EXPECT_LT(gap(given, clean), 1e-6);
}

TEST(LocalP, RefusesWhatDoesNotFit) {
  AttentionInput input = rows_of(2, 3, 12, 8);
  const auto local = made<Attention>("local_p", 3, 8);
  input.call.key_lengths = at::full({3}, 4, at::kLong);
  expect_error(ErrorKind::usage, {"key_lengths must be integers of shape (B)"},
               [&] { local->forward(input); });
  input.call.key_lengths = std::nullopt;
  input.call.mask = at::ones({12, 11}, at::kBool);
  expect_error(ErrorKind::usage, {"mask"}, [&] { local->forward(input); });
}

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
  expect_error(ErrorKind::usage, {"it has no choice of causal order"},
               [] { parse_attention("forgetting:causal=false"); });
}

TEST(AdaptiveSpan, LearnsAndIsPenalised) {
  at::manual_seed(4);
  const AttentionInput input = rows_of(1, 2, 40, 8);
  const auto attention = made<AdaptiveSpanAttention>("adaptive_span:span=20,ramp=4,init=0.5", 2, 8);
  EXPECT_EQ(attention->span_loss({}).item<double>(), 10.0);
  const torch::NoGradGuard no_grad;
  attention->current_val.copy_(at::tensor({-0.5, 1.5}).view({2, 1, 1}));
  EXPECT_TRUE(attention->spans().equal(at::tensor({0.0, 20.0}).view({1, 2, 1})));
  const at::AutoGradMode grad(true);
  // Gradients reach spans that left their range, where they lead back.
  for (const double sign : {1.0, -1.0}) {
    const at::Tensor by_span =
        torch::autograd::grad({sign * attention->span_loss({})}, {attention->current_val})[0];
    EXPECT_TRUE(by_span.flatten().equal(sign > 0 ? at::tensor({0.0, 10.0}) : at::tensor({-10.0, 0.0})));
  }
}

// bfloat16 holds no 200.5.
TEST(AdaptiveSpan, KeepsItsSpansInHalfTypes) {
  const auto attention = made<AdaptiveSpanAttention>("adaptive_span:span=401,ramp=4,init=0.5", 2, 8);
  attention->to(at::kBFloat16);
  EXPECT_EQ(attention->spans().max().item<double>(), 200.5);
}

// An observation of the kernel sees no weight beyond the span.
TEST(AdaptiveSpan, SeesNothingBeyond) {
  at::manual_seed(5);
  AttentionInput input = rows_of(1, 2, 60, 8);
  const auto attention = made<AdaptiveSpanAttention>("adaptive_span:span=20,ramp=4,init=0.5", 2, 8);
  input.call.weights = true;
  const at::Tensor weights = attention->forward(input).weights;
  const at::Tensor away = (at::arange(60).unsqueeze(1) - at::arange(60)).abs();
  EXPECT_EQ((weights * (away >= 14)).abs().max().item<double>(), 0.0);
  EXPECT_GT(weights.masked_select((away < 14).expand_as(weights)).min().item<double>(), 0.0);
  EXPECT_LT(gap(weights.sum(-1), at::ones({1, 2, 60})), 1e-6);
  EXPECT_EQ(attention->cost(60, 60, 8).multiply_adds, 2 * 8 * (away < 14).sum().item<int64_t>());
}

TEST(AdaptiveSpan, ShortSpansSaveTime) {
  at::manual_seed(6);
  const AttentionInput input = rows_of(1, 4, 4096, 32);
  const auto attention = made<AdaptiveSpanAttention>("adaptive_span:span=4096,ramp=32,init=1", 4, 32);
  const double whole = seconds_of(*attention, input);
  const auto products = attention->cost(4096, 4096, 32).multiply_adds;
  const torch::NoGradGuard no_grad;
  attention->current_val.fill_(64.0 / 4096);
  const double ratio = whole / seconds_of(*attention, input);
  RecordProperty("ratio", std::to_string(ratio));
  EXPECT_GT(ratio, 6.0);
  EXPECT_GT(products / attention->cost(4096, 4096, 32).multiply_adds, 15);
}

// Rows that look far and rows that do not, in turns of 512.
TEST(TokenSpan, ShortSightedRowsSaveTime) {
  at::manual_seed(7);
  AttentionInput input = rows_of(1, 4, 4096, 32);
  const auto attention = made<SpanAttention>("token_span:span=4096,ramp=32", 4, 32);
  const torch::NoGradGuard no_grad;
  const auto parameters = attention->named_parameters();
  parameters["span_predictor.weight"].zero_().select(1, 0).fill_(1.0);
  parameters["span_predictor.bias"].zero_();
  const auto with_far_rows = [&](double part) {
    input.x.zero_().select(2, 0).fill_(-4.5).slice(1, 0, static_cast<int64_t>(part * 4096)).fill_(20.0);
    return seconds_of(*attention, input);
  };
  const double all = with_far_rows(1.0), half = with_far_rows(0.5), none = with_far_rows(0.0);
  RecordProperty("ratio", std::to_string(all / none));
  EXPECT_GT(all / none, 6.0);
  EXPECT_NEAR((half - none) / (all - none), 0.5, 0.15);
}

TEST(ExpireSpan, ExpiredKeysSaveTime) {
  at::manual_seed(8);
  AttentionInput input = rows_of(1, 4, 4096, 32);
  const auto attention = made<ExpireSpanAttention>("expire_span:span=4096,ramp=32", 4, 32);
  const torch::NoGradGuard no_grad;
  attention->span_predictor->bias.fill_(20.0);
  const double kept = seconds_of(*attention, input);
  attention->span_predictor->bias.fill_(-4.2);  // e = 60
  const double ratio = kept / seconds_of(*attention, input);
  RecordProperty("ratio", std::to_string(ratio));
  EXPECT_GT(ratio, 4.0);
}

// Position by position, one sequence of two whose keys live longer: as the whole, with what expired gone.
TEST(ExpireSpan, MemoryDropsKeysAndLosesNothing) {
  at::manual_seed(9);
  AttentionInput input = rows_of(2, 2, 300, 8, at::kDouble);
  const auto attention = made<ExpireSpanAttention>("expire_span:span=40,ramp=5", 2, 8);
  attention->to(at::kDouble);
  const torch::NoGradGuard no_grad;
  attention->span_predictor->weight.normal_(0.0, 0.5);
  const at::Tensor whole = attention->forward(input).out, spans = attention->spans(input.x);
  ExpireMemory memory(5);
  int64_t most = 0;
  for (int64_t t = 0; t < 300; t += t < 40 ? 8 : 1) {
    const int64_t end = std::min<int64_t>(t + (t < 40 ? 8 : 1), 300);
    const auto piece = [&](const at::Tensor& all) { return all.slice(2, t, end); };
    memory.append(piece(input.k), piece(input.v), piece(spans));
    EXPECT_LT(gap(memory.attend(piece(input.q)), piece(whole)), 1e-13) << t;
    most = std::max(most, memory.size());
  }
  EXPECT_EQ(memory.length(), 300);
  EXPECT_LT(most, 46);
  // What lives at the end, by its definition.
  const at::Tensor ago = 299 - at::arange(300);
  EXPECT_EQ(memory.size(), (spans + 5 > ago).any(0).sum().item<int64_t>());
}

TEST(ExpireSpan, MemoryRefusesWhatDoesNotFit) {
  const at::Tensor k = at::randn({1, 2, 3, 4}), spans = at::ones({1, 1, 3});
  expect_error(ErrorKind::usage, {"ramp must be above 0"}, [] { ExpireMemory memory(0.0); });
  ExpireMemory memory(4.0);
  expect_error(ErrorKind::usage, {"Append their keys before"}, [&] { memory.attend(k); });
  expect_error(ErrorKind::usage, {"[expire_memory] k and v must be"}, [&] {
    memory.append(k, k, at::ones({1, 2, 3}));
  });
  memory.append(k, k, spans);
  expect_error(ErrorKind::usage, {"Begin another memory"}, [&] {
    memory.append(at::randn({1, 3, 1, 4}), at::randn({1, 3, 1, 4}), at::ones({1, 1, 1}));
  });
}

TEST(Range, RefusesWhatDoesNotFit) {
  const auto refuses = [](const std::string& text, const std::string& part) {
    expect_error(ErrorKind::usage, {part}, [&] { parse_attention(text).build({2, 2, 4, 4, kWide}); });
  };
  for (const std::string name : {"adaptive_span", "token_span", "expire_span"}) {
    refuses(name + ":span=0", "span must be a whole number from 1");
    refuses(name + ":span=-3", "span must be a whole number from 1");
    refuses(name + ":ramp=0", "ramp must be a whole number from 1");
    refuses(name + ":init=0", "init must be a number above 0");
    refuses(name + ":init=1.5", "init must be a part of span");
    refuses(name + ":window=4", "the option 'window' is unknown");
  }
  refuses("token_span:init=1", "init must be below 1");
  refuses("expire_span:causal=false", "it has no choice of causal order");
  refuses("head_router:k=3",
          "[head_router] k must be at most the heads; found 3 of 2. Choose a smaller k, or more heads.");
  refuses("head_router:k=0", "k must be a whole number from 1");
  refuses("head_gate:gamma=0.1", "gamma must be below 0");
  refuses("head_gate:zeta=1", "zeta must be a number above 1");
  refuses("head_gate:beta=0", "beta must be a number above 0");
  refuses("head_gate:window=-1", "window must be a whole number from 0");
  refuses("entmax:alpha=1", "alpha must be a number above 1");
  refuses("entmax:alpha=2.5", "alpha must be at most 2");
  refuses("entmax:alpha=2,learned=true", "alpha must be below 2 to learn");
  AttentionInput input = rows_of(1, 2, 5, 4);
  input.call.alibi_slopes = at::ones({2});
  expect_error(ErrorKind::usage, {"its queries are picked out of the sequence"},
               [&] { made<Attention>("head_router:k=1", 2, 4)->forward(input); });
}

// A bias that no other score comes near is a mask.
TEST(Longformer, ProjectedGlobalRowsTakeTheirBias) {
  at::manual_seed(13);
  const auto attention =
      parse_attention("longformer:window=2,global=2,global_projections=true").build({2, 2, 4, 4, 6});
  AttentionInput input;
  input.q = at::randn({1, 2, 9, 4}), input.k = at::randn({1, 2, 9, 4}), input.v = at::randn({1, 2, 9, 4}),
  input.x = at::randn({1, 9, 6});
  AttentionInput masked = input;
  masked.call.mask = (at::arange(9) + at::arange(9).unsqueeze(1)).remainder(3) == 0;
  input.call.bias = at::zeros({9, 9}).masked_fill(masked.call.mask->logical_not(), -1e6);
  EXPECT_LT(
      gap(attention->forward(input).out.narrow(2, 0, 2), attention->forward(masked).out.narrow(2, 0, 2)),
      1e-6);
}

}  // namespace
}  // namespace fovea::nn
