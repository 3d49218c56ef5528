#include "fovea/nn/attention/attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "fovea/nn/attention/alibi.h"
#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/attention/self_attention.h"
#include "fovea/nn/meta_device.h"
#include "tests/nn/gap.h"
#include "tests/support/errors.h"

namespace fovea::nn {
namespace {

struct Qkv {
  at::Tensor q = at::randn({2, 4, 20, 8}, at::kDouble), k = at::randn({2, 4, 30, 8}, at::kDouble),
             v = at::randn({2, 4, 30, 8}, at::kDouble);
};

at::Tensor run(const std::string& text, const Qkv& t) {
  AttentionInput input;
  input.q = t.q, input.k = t.k, input.v = t.v;
  return parse_attention(text).build({4, 4, 8, 8})->forward(input).out;
}

using Pairs = std::function<at::Tensor(const at::Tensor& i, const at::Tensor& j)>;

TEST(Attention, HidesWhatItsFormulaSays) {
  at::manual_seed(1);
  const Qkv t;
  const auto near = [](int64_t width) {
    return [width](const at::Tensor& i, const at::Tensor& j) { return (i - j).abs() <= width; };
  };
  const std::vector<std::pair<std::string, Pairs>> cases = {
      {"softmax:causal=true", [](auto& i, auto& j) { return j <= i; }},
      {"softmax:causal=top_left", [](auto& i, auto& j) { return j <= i; }},
      {"softmax:causal=bottom_right", [](auto& i, auto& j) { return j <= i + 10; }},
      {"softmax:causal=false,window=4", near(4)},
      {"softmax:window_left=3", [](auto& i, auto& j) { return i - j <= 3; }},
      {"softmax:window_left=3,window_right=1", [](auto& i, auto& j) { return (i - j <= 3) & (j - i <= 1); }},
      {"local", near(10)},
      {"local:window=2", near(2)},
      {"longformer:window=3,global=2",
       [](auto& i, auto& j) { return ((i - j).abs() <= 3) | (i < 2) | (j < 2); }},
      {"longformer:window=8,global=0,dilation=3",
       [](auto& i, auto& j) { return ((i - j).abs() <= 8) & ((i - j).remainder(3) == 0); }},
      {"softmax:dilation=2,causal=true",
       [](auto& i, auto& j) { return (j <= i) & ((i - j).remainder(2) == 0); }},
      {"sparse_strided:stride=4",
       [](auto& i, auto& j) { return (j <= i) & ((i - j <= 4) | ((i - j).remainder(4) == 0)); }},
  };
  for (const auto& [text, allowed] : cases) {
    AttendOptions options;
    options.mask = allowed(at::arange(20).unsqueeze(1), at::arange(30));
    EXPECT_LT(gap(run(text, t), attend(t.q, t.k, t.v, options).out), 1e-14) << text;
  }
}

TEST(Attention, ScoresAndNormalisesAsItSays) {
  at::manual_seed(2);
  const Qkv t;
  const auto expect = [&](const std::string& text, const std::function<void(AttendOptions&)>& ask) {
    AttendOptions options;
    ask(options);
    EXPECT_LT(gap(run(text, t), attend(t.q, t.k, t.v, options).out), 1e-7) << text;
  };
  expect("softmax", [](AttendOptions&) {});
  expect("softmax:scale=-0.25", [](AttendOptions& o) { o.scale = -0.25; });
  expect("dot", [](AttendOptions& o) { o.scale = 1.0; });
  expect("softmax:softcap=1.5", [](AttendOptions& o) { o.softcap = 1.5; });
  expect("softmax_sink", [](AttendOptions& o) { o.normaliser = SoftmaxSink{}; });
  expect("sigmoid", [](AttendOptions& o) { o.normaliser = Sigmoid{}; });
  expect("sigmoid:sigmoid_bias=-2", [](AttendOptions& o) { o.normaliser = Sigmoid{-2.0}; });
  expect("sparsemax", [](AttendOptions& o) { o.normaliser = Sparsemax{}; });
  expect("entmax", [](AttendOptions& o) { o.normaliser = Entmax{}; });
  expect("softmax:normaliser=entmax15", [](AttendOptions& o) { o.normaliser = Entmax{}; });
  const at::Tensor slopes = at::tensor({0.25, 0.0625, 0.015625, 0.00390625});
  expect("softmax:alibi=true", [&](AttendOptions& o) { o.alibi_slopes = slopes; });
  expect("local:alibi=true,window=4", [&](AttendOptions& o) {
    o.alibi_slopes = slopes;
    o.window = AttendWindow{4, 4};
  });
}

TEST(Attention, ExactLimits) {
  at::manual_seed(3);
  const Qkv t;
  const at::Tensor full = run("softmax", t), causal = run("softmax:causal=true", t);
  for (const char* text : {"local:window=29", "longformer:window=29", "longformer:window=0,global=30"}) {
    EXPECT_LT(gap(run(text, t), full), 1e-14) << text;
  }
  EXPECT_LT(gap(run("sparse_strided:stride=1", t), causal), 1e-14);
}

// Of the code that the paper came with, for 8 and 12 heads.
TEST(Attention, AlibiSlopes) {
  const auto expect = [](int64_t heads, const std::vector<double>& exponents) {
    const at::Tensor expected = at::exp2(at::tensor(exponents)).to(at::kFloat);
    EXPECT_LT(gap(alibi_slopes(heads), expected), 1e-7) << heads;
  };
  expect(1, {-8});
  expect(8, {-1, -2, -3, -4, -5, -6, -7, -8});
  expect(12, {-1, -2, -3, -4, -5, -6, -7, -8, -0.5, -1.5, -2.5, -3.5});
}

TEST(Attention, PathIsWhatRuns) {
  const at::Tensor t = at::randn({1, 4, 64, 8}), one = t.slice(2, 0, 1);
  const torch::NoGradGuard no_grad;
  for (const auto& entry : attention_entries()) {
    AttentionInput input;
    input.q = input.k = input.v = t;
    input.grid = GridPositions{8, 8, 0};
    const auto attention = parse_attention(entry.name).build({4, 4, 8, 8, 32, input.grid});
    auto* engine = dynamic_cast<EngineAttention*>(attention.get());
    if (!engine) continue;  // of one path
    input.x = at::randn({1, 64, 32});
    const std::string name = engine->choice(input).name;
    EXPECT_TRUE(entry.path.ends_with(name)) << entry.name << ' ' << name;
    if (entry.path.starts_with("decode")) {
      input.q = one;
      EXPECT_EQ(engine->choice(input).name, "decode") << entry.name;
    }
  }
}

TEST(Attention, RefusesWhatItDoesNotKnow) {
  const auto refuses = [](const std::string& text, const std::string& part) {
    expect_error(ErrorKind::usage, {part}, [&] { parse_attention(text); });
  };
  for (const auto& entry : attention_entries()) {
    for (const auto& option : entry.options) refuses(entry.name + ":" + option.name + "=?", "found '?'");
  }
  refuses("sofmax", "Did you mean 'softmax'?");
  refuses("softmax:casual=true", "[softmax] the option 'casual' is unknown. Did you mean 'causal'?");
  refuses("softmax:normaliser=sigmod", "Did you mean 'sigmoid'?");
  refuses("softmax:causal", "options are written key=value");
  refuses("softmax:causal=true,causal=false", "each option is given once; found 'causal'");
  refuses("softmax:causal=yes", "causal must be false, true, bottom_right or top_left; found 'yes'");
  refuses("softmax:alibi=1", "alibi must be true or false");
  refuses("softmax:window=-1", "window must be a whole number from 0; found '-1'");
  refuses("softmax:window=2.5", "window must be a whole number from 0");
  refuses("softmax:window=4294967296", "window must be at most");
  refuses("softmax:dilation=0", "dilation must be a whole number from 1");
  refuses("softmax:softcap=0", "softcap must be a number above 0");
  refuses("softmax:scale=nan", "scale must be a number");
  refuses("softmax:scale=1e999", "scale must be a number");
  refuses("additive:scale=2", "the option 'scale' is unknown");
  refuses("softmax:sigmoid_bias=1", "sigmoid_bias belongs to the normaliser sigmoid; found softmax");
  refuses("sparse_strided:global=1", "the option 'global' is unknown");
  refuses("sparse_fixed:stride=4,summary=5", "summary must be at most stride; found 5 of 4");
  refuses("sparse_fixed:causal=bottom_right", "it has no choice of causal order");
  refuses("bigbird:window=2", "window must be an odd number of blocks; found 2");
  refuses("deformable:levels=33", "levels at most 32; found 4 points, 33 levels");
  refuses("deformable:points=1025", "points must be at most 1024");
  refuses("head_gate:log_alpha=1e300", "log_alpha must be -10000 ... 10000");
}

// Says no to all that an interface can ask.
class Plain : public Attention {
 public:
  explicit Plain(AttentionTraits traits) : Attention({"plain", traits}, {2, 2, 4, 4, 8}) {}
  AttentionCost cost(int64_t, int64_t, int64_t) const override { return {}; }
  int runs = 0;

 protected:
  AttentionOutput run(const AttentionInput& input) override {
    ++runs;
    return {input.q, {}, {}};
  }
};

AttentionInput plain_input() {
  AttentionInput input;
  input.q = input.k = input.v = at::zeros({1, 2, 6, 4});
  input.x = at::zeros({1, 6, 8});
  return input;
}

TEST(Attention, RefusesACallThatDoesNotFit) {
  const auto refuses = [](const AttentionTraits& traits, const std::string& part, auto&& change) {
    Plain fits({}), plain(traits);
    AttentionInput input = plain_input();
    change(input);
    expect_error(ErrorKind::usage, {"[plain]", part}, [&] { plain.forward(input); });
    EXPECT_EQ(plain.runs, 0) << part;
    fits.forward(input);
    EXPECT_EQ(fits.runs, 1) << part;
  };
  const at::Tensor yes = at::ones({6, 6}, at::kBool);
  refuses({.causal_ok = false}, "causal order", [](auto& in) { in.call.causal = CausalAlignment::top_left; });
  refuses({.supports_cross = false}, "one sequence", [](auto& in) { in.cross = true; });
  refuses({.supports_cross = false}, "6 queries, 9 keys", [](auto& in) {
    in.k = in.v = at::zeros({1, 2, 9, 4});
  });
  refuses({.needs_2d = true}, "a grid of rows and columns", [](auto&) {});
  refuses({.needs_x = true}, "the rows before projection", [](auto& in) { in.x = at::Tensor(); });
  refuses({.takes_masks = false}, "takes no masks", [&](auto& in) { in.call.mask = yes; });
  refuses({.takes_masks = false, .takes_key_masks = true}, "the same keys from all queries",
          [&](auto& in) { in.call.mask = yes; });
  refuses({.takes_masks = false, .takes_lengths = false}, "takes no lengths",
          [](auto& in) { in.call.key_lengths = at::full({1}, 6); });
  refuses({.takes_biases = false}, "takes no biases", [](auto& in) { in.call.bias = at::zeros({6, 6}); });
  refuses({.gives_weights = false}, "no weights to show", [](auto& in) { in.call.weights = true; });
  refuses({.gives_weights = false}, "dropout 0.5", [](auto& in) { in.call.dropout_p = 0.5; });
  refuses({.observes = false}, "without a matrix", [](auto& in) { in.call.observe.entropy = true; });
  refuses({.takes_packed = false}, "behind each other", [&](auto& in) {
    in.q = in.k = in.v = at::zeros({6, 2, 4});
    in.x = at::Tensor();
    in.call.packed = PackedOffsets{at::arange(2), at::arange(2)};
  });
}

TEST(Attention, RefusesShapesThatItIsNotBuiltFor) {
  const auto refuses = [](const std::string& part, auto&& change) {
    Plain plain({});
    AttentionInput input = plain_input();
    change(input);
    expect_error(ErrorKind::usage, {"[plain]", part}, [&] { plain.forward(input); });
  };
  refuses("2 heads of queries", [](auto& in) { in.q = at::zeros({1, 3, 6, 4}); });
  refuses("(1, 2, 6, 5)", [](auto& in) { in.k = at::zeros({1, 2, 6, 5}); });
  refuses("undefined", [](auto& in) { in.v = at::Tensor(); });
  refuses("(B, T, 8)", [](auto& in) { in.x = at::zeros({1, 6, 7}); });
  refuses("6 positions, a grid of 2 x 2 behind 1 tokens", [](auto& in) { in.grid = GridPositions{2, 2, 1}; });
  expect_error(ErrorKind::usage, {"divide"}, [] { parse_attention("softmax").build({3, 2, 4, 4}); });
  expect_error(ErrorKind::usage, {"aligned alike"}, [] {
    AttentionInput input = plain_input();
    input.call.causal = CausalAlignment::bottom_right;
    parse_attention("softmax:causal=true").build({2, 2, 4, 4, 8})->forward(input);
  });
}

TEST(Attention, RefusesWhatAMechanismCannot) {
  const auto refuses = [](const std::string& text, const std::string& part, auto&& change) {
    AttentionInput input = plain_input();
    change(input);
    expect_error(ErrorKind::usage, {part}, [&] {
      parse_attention(text).build({2, 2, 4, 4, 8})->forward(input);
    });
  };
  refuses("bigbird", "its blocks are its own", [](auto& in) {
    in.call.blocks = AttendBlocks{at::ones({1, 1, 1, 1}, at::kBool), 64};
  });
  refuses("bigbird", "6 queries, 9 keys", [](auto& in) { in.k = in.v = at::zeros({1, 2, 9, 4}); });
  const std::string projected = "longformer:global_projections=true";
  refuses(projected, "the rows before projection", [](auto& in) { in.x = at::Tensor(); });
  refuses(projected, "nor a bottom right causal order",
          [](auto& in) { in.call.causal = CausalAlignment::bottom_right; });
  refuses(projected, "without a matrix of weights", [](auto& in) { in.call.observe.entropy = true; });
  refuses("additive", "without a matrix of weights", [](auto& in) { in.call.observe.entropy = true; });
  expect_error(ErrorKind::usage, {"needs the rows before projection"}, [&] {
    parse_attention(projected).build({2, 2, 4, 4});
  });
  expect_error(ErrorKind::usage, {"rank must be at most the head size; found 5 of 4"}, [] {
    parse_attention("bilinear:rank=5").build({2, 2, 4, 4});
  });
}

TEST(Attention, StartsAsTheScaledDotProduct) {
  at::manual_seed(8);
  Qkv t;
  EXPECT_LT(gap(run("bilinear", t), run("softmax", t)), 1e-7);
  // Of unit length, -|q - k|^2 / 2 is q . k but for a constant.
  t.q = t.q / t.q.norm(2, -1, true), t.k = t.k / t.k.norm(2, -1, true);
  EXPECT_LT(gap(run("gaussian:learned=false", t), run("softmax", t)), 1e-12);
}

TEST(Attention, ALearnedTemperatureOfCosinesIsAtMost100) {
  at::manual_seed(12);
  const Qkv t;
  AttentionInput input;
  input.q = t.q, input.k = t.k, input.v = t.v;
  const auto attention = parse_attention("cosine").build({4, 4, 8, 8});
  const torch::NoGradGuard no_grad;
  attention->named_parameters()["logit_scale"].fill_(7.0);
  attention->to(at::kDouble);
  EXPECT_LT(gap(attention->forward(input).out, run("cosine:scale=100,learned=false", t)), 1e-9);
  expect_error(ErrorKind::usage,
               {"[cosine]", "scale must be at most 100 to learn; found 200", "learned=false"},
               [] { parse_attention("cosine:scale=200"); });
  parse_attention("cosine:scale=200,learned=false");
}

// Several sequences behind each other: each as it is by itself, heads in the second dimension.
TEST(Attention, RunsPackedSequences) {
  at::manual_seed(9);
  for (const char* text : {"softmax:causal=true", "cosine", "bilinear", "gaussian", "longformer:window=2"}) {
    const auto attention = parse_attention(text).build({2, 2, 4, 4});
    const at::Tensor rows = at::randn({11, 2, 4});
    AttentionInput input;
    input.q = input.k = input.v = rows;
    input.call.packed = PackedOffsets{at::tensor({0, 4, 11}), at::tensor({0, 4, 11})};
    const at::Tensor packed = attention->forward(input).out;
    input.call.packed.reset();
    input.q = input.k = input.v = rows.slice(0, 4).transpose(0, 1).unsqueeze(0);
    EXPECT_LT(gap(packed.slice(0, 4), attention->forward(input).out[0].transpose(0, 1)), 1e-6) << text;
  }
}

TEST(Attention, ObservesWhatItIsAsked) {
  at::manual_seed(5);
  AttentionInput input = plain_input();
  input.q = at::randn({1, 2, 6, 4}), input.k = at::randn({1, 2, 6, 4}), input.v = at::randn({1, 2, 6, 4});
  input.call.observe.entropy = true;
  input.call.weights = true;
  for (const char* text : {"softmax", "local:window=2", "softmax_sink"}) {
    const auto result = parse_attention(text).build({2, 2, 4, 4, 8})->forward(input);
    const at::Tensor w = result.weights, entropy = -(w * w.clamp_min(1e-30).log()).sum(-1);
    EXPECT_LT(gap(result.observed.entropy, entropy), 1e-5) << text;
  }
}

TEST(Attention, CostCountsPairsOfBlocks) {
  at::manual_seed(7);
  const auto attention = parse_attention("bigbird:block_size=3,random=2").build({2, 2, 1, 1});
  AttentionInput input;
  input.q = input.k = input.v = at::randn({1, 2, 37, 1}, at::kDouble);
  input.call.weights = true;
  const at::Tensor seen = attention->forward(input).weights > 0;
  for (int64_t head = 0; head < 2; ++head) {
    EXPECT_EQ(attention->cost(37, 37, 1).multiply_adds, 2 * seen[0][head].sum().item<int64_t>());
  }
}

// Costs count the pairs that the formula has.
TEST(Attention, CostCountsPairs) {
  at::manual_seed(6);
  const int64_t n = 37, m = 41;
  Qkv t;
  t.q = at::randn({1, 1, n, 1}, at::kDouble), t.k = t.v = at::randn({1, 1, m, 1}, at::kDouble);
  for (const char* text : {"softmax", "softmax:causal=true", "softmax:causal=bottom_right", "local:window=3",
                           "softmax:window_left=5,causal=true", "longformer:window=6,global=3,dilation=2",
                           "longformer:window=6,global=3,dilation=3,causal=true", "sparse_strided:stride=7",
                           "sparse_fixed:stride=7,summary=3"}) {
    const auto attention = parse_attention(text).build({1, 1, 1, 1});
    AttentionInput input;
    input.q = t.q, input.k = t.k, input.v = t.v;
    input.call.weights = true;
    const int64_t pairs = (attention->forward(input).weights > 0).sum().item<int64_t>();
    EXPECT_EQ(attention->cost(n, m, 1).multiply_adds, 2 * pairs) << text;
  }
}

TEST(Attention, SelfAttentionRunsIt) {
  at::manual_seed(4);
  const at::Tensor x = at::randn({2, 9, 12}, at::kDouble);
  SelfAttentionOptions options;
  options.dim = 12, options.num_heads = 3, options.attention = "local:window=2";
  SelfAttention layer(options);
  layer->to(at::kDouble);
  const auto parts = layer->qkv->forward(x).reshape({2, 9, 3, 3, 4}).permute({2, 0, 3, 1, 4}).unbind(0);
  AttendOptions window;
  window.window = AttendWindow{2, 2};
  const at::Tensor joined =
      attend(parts[0], parts[1], parts[2], window).out.transpose(1, 2).reshape({2, 9, 12});
  EXPECT_LT(gap(layer->forward(x), layer->proj->forward(joined)), 1e-14);
}

TEST(Attention, AdditiveSelfAttentionLearns) {
  SelfAttentionOptions options;
  options.dim = 12, options.num_heads = 3, options.attention = "additive:causal=true";
  SelfAttention layer(options);
  ASSERT_TRUE(layer->named_parameters().contains("attention.w"));
  const at::Tensor w = layer->named_parameters()["attention.w"];
  layer->forward(at::randn({2, 9, 12})).square().sum().backward();
  EXPECT_EQ(w.grad().sizes(), (std::vector<int64_t>{3, 4}));
  EXPECT_GT(w.grad().abs().max().item<double>(), 0.0);
}

TEST(Attention, HasShapesOnTheMetaDevice) {
  const MetaDeviceScope meta;
  for (const auto& entry : attention_entries()) {
    for (const std::string option : {"", "alibi=true", "causal=bottom_right"}) {
      const auto named = [&](const OptionDoc& doc) { return option.starts_with(doc.name + "="); };
      if (!option.empty() && std::ranges::none_of(entry.options, named)) continue;
      SelfAttentionOptions options;
      options.dim = 12, options.num_heads = 3, options.attention = entry.name + ":" + option;
      options.grid = GridPositions{2, 4, 1};
      SelfAttention layer(options);
      const at::Tensor out = layer->forward(at::empty({2, 9, 12}));
      EXPECT_TRUE(out.is_meta() && out.sizes().equals({2, 9, 12})) << options.attention;
    }
  }
}

}  // namespace
}  // namespace fovea::nn
